"""Every operator of torch.library is held against torch's own checks of operators, opcheck, in some test."""

import ast
import importlib
from pathlib import Path

import torch

from fasttrain.core.operator import Operator

ROOT = Path(__file__).parents[2]


def import_everything():
    """Operators are registered as their modules are imported."""
    for path in (ROOT / "python" / "fasttrain").rglob("*.py"):
        if "operator(" in path.read_text():
            importlib.import_module(".".join(path.relative_to(ROOT / "python").with_suffix("").parts))


def registered():
    import_everything()
    return {name for name in torch._C._dispatch_get_all_op_names() if name.startswith("fasttrain::")}


def opchecked(path):
    """Names of the operators whose overload a test file gives to opcheck: `opcheck(x.overload, ...)`."""
    tree = ast.parse(path.read_text())
    names = {}
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.startswith("fasttrain"):
            for alias in node.names:
                names[alias.asname or alias.name] = (node.module, alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "torch.library.opcheck":
            first, *rest = ast.unparse(node.args[0]).removesuffix(".overload").split(".")
            if first not in names:
                continue
            module, name = names[first]
            found = getattr(importlib.import_module(module), name, None) or importlib.import_module(f"{module}.{name}")
            for attribute in rest:
                found = getattr(found, attribute)
            assert isinstance(found, Operator), f"{path}:{node.lineno}"
            yield found.name


def test_every_operator_is_opchecked():
    ops = registered()
    assert len(ops) > 15, "their names are not where they were"
    checked = {name for path in (ROOT / "tests").rglob("test_*.py") for name in opchecked(path)}
    assert not ops - checked, f"no torch.library.opcheck of {sorted(ops - checked)}"
