import subprocess
import sys

import pytest

import fasttrain


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_import_starts_nothing_and_is_fast():
    out = run(
        "import time; start = time.perf_counter(); import fasttrain; seconds = time.perf_counter() - start\n"
        "import sys, logging; heavy = {'torch', 'numpy', 'pyarrow', 'mpi4py', 'pydantic'} & set(sys.modules)\n"
        "print(seconds, sorted(heavy), logging.getLogger('fasttrain').handlers)"
    )
    seconds, rest = out.split(maxsplit=1)
    assert float(seconds) < 0.1
    assert rest.strip() == "[] []"


def test_every_public_name_loads_and_is_documented():
    for name in fasttrain.__all__:
        value = getattr(fasttrain, name)
        assert value.__doc__, name
    assert sorted(fasttrain.__all__) == list(fasttrain.__all__)


def test_native_names_need_no_torch():
    out = run("import fasttrain, sys; fasttrain.hash128; print('torch' in sys.modules)")
    assert out.strip() == "False"


def test_an_unknown_name_says_what_there_is():
    with pytest.raises(AttributeError, match="has no attribute 'minhahs'; it has .*hash128"):
        _ = fasttrain.minhahs
