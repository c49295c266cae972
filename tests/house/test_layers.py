"""The house: rooms import downward only, every native op is mirrored, one module holds the native door."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "fasttrain"
FLOORS = [  # top to bottom; rooms on one floor never import each other
    {"__main__", "cli"},
    {"prepare", "train", "export", "report"},
    {"parallel", "eval", "audit", "estimate"},
    {"model"},
    {"corpus", "filter", "dedup", "decontam", "mixture", "tokenizer", "batch", "nn", "optim", "checkpoint", "monitor"},
    {"formats", "text"},
    {"comm"},
    {"core"},
]
FLOOR_OF = {room: height for height, rooms in enumerate(reversed(FLOORS)) for room in rooms}
DATA_ONLY = {"recipes", "data"}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):  # walks into functions: lazy imports count too
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write absolute imports"
            yield from ([f"fasttrain.{a.name}" for a in node.names] if node.module == "fasttrain" else [node.module])
        elif isinstance(node, ast.Import):
            yield from (a.name for a in node.names)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path):
    here = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    for target in imports(path):
        room = target.split(".")[1] if target.startswith("fasttrain.") else None
        if room is None or room == here or here == "__init__":
            continue
        assert room in FLOOR_OF, f"{here} imports {room}, which is a room on no floor"
        if here == "__main__" and room == "cli":
            continue
        assert FLOOR_OF[room] < FLOOR_OF[here], f"{here} imports {room}, which is not below it"


def test_every_room_has_a_floor_and_says_what_it_is():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and not p.name.startswith("__")} - DATA_ONLY
    assert rooms == set(FLOOR_OF) - {"__main__"}
    for room in rooms:
        doc = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
        assert doc, f"{room}/__init__.py says nothing"
        assert (ROOT / "tests" / room).is_dir(), f"{room} has no tests"


OPS = sorted((h.parent.name, h.stem) for h in (ROOT / "csrc").glob("*/*.h") if h.parent.name not in {"core", "bind"})
# Headers that are parts of an op, not ops: what they hold is tested through the op that includes them.
PARTS = {(room, name) for room, name in OPS if "/* part of" in (ROOT / "csrc" / room / f"{name}.h").read_text()[:80]}


@pytest.mark.parametrize(("room", "op"), sorted(set(OPS) - PARTS))
def test_every_native_op_has_its_four_mirrors(room, op):
    for mirror in (
        PACKAGE / room / f"{op}.py",
        PACKAGE / room / f"{op}_ref.py",
        ROOT / "tests" / room / f"test_{op}.py",
        ROOT / "benchmarks" / room / f"bench_{op}.py",
    ):
        assert mirror.exists(), f"csrc/{room}/{op}.h has no {mirror.relative_to(ROOT)}"


def test_one_module_opens_the_native_door():
    users = [str(p.relative_to(PACKAGE)) for p in PACKAGE.rglob("*.py") if "fasttrain._native" in p.read_text()]
    assert users == ["core/backend.py"]


def test_one_module_knows_mpi():
    users = [
        str(p.relative_to(PACKAGE))
        for p in PACKAGE.rglob("*.py")
        if any(i and i.split(".")[0] == "mpi4py" for i in imports(p))
    ]
    assert users == ["comm/group.py"]


def test_pybind11_is_only_in_bind():
    for path in (ROOT / "csrc").rglob("*"):
        if path.suffix in {".h", ".cpp", ".cu"} and path.parent.name != "bind":
            assert "pybind11" not in path.read_text(), path


def test_openmp_is_only_in_core():
    for path in (ROOT / "csrc").rglob("*"):
        if path.suffix in {".h", ".cpp", ".cu"} and path.parent.name != "core":
            assert "#pragma omp" not in path.read_text(), f"{path}: use core/parallel.h"


def test_nothing_is_unpickled():
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text()
        assert "pickle" not in text or path.name == "group.py", path
        assert "torch.load" not in text, path
