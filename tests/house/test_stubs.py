"""The native module's type stubs are those of the module that is installed."""

import subprocess
import sys
from pathlib import Path

import pytest

from fasttrain.core import backend

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not backend.is_native(), reason="the native module is not built")
def test_stubs_are_current(tmp_path):
    made = tmp_path / "_native.pyi"
    subprocess.run(
        ["bash", str(ROOT / "tools/gen_stubs.sh"), str(made)],
        check=True,
        env={"PATH": "/usr/bin:/bin", "PYTHON": sys.executable, "PYTHONPATH": ":".join(p for p in sys.path if p)},
    )
    committed = (ROOT / "python/fasttrain/_native.pyi").read_text()
    assert made.read_text() == committed, "csrc/bind/ changed: run tools/gen_stubs.sh"
