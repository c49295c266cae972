import numpy as np
import pytest

from fasttrain.core import backend, check, malloc


def test_reference_is_always_last():
    assert backend.implementations("hash128")[-1] == "reference"


def test_a_name_that_cannot_run_is_an_error(monkeypatch):
    monkeypatch.setenv("FASTTRAIN_IMPL", "avx1024")
    with pytest.raises(ValueError, match=r"hash128: impl 'avx1024' cannot run here; choose from \["):
        backend.choose("hash128", None)


def test_an_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("FASTTRAIN_IMPL", "avx1024")
    assert backend.choose("hash128", "reference") == "reference"


@pytest.mark.parametrize(("variable", "text", "threads"), [("FASTTRAIN_THREADS", "3", 3), ("OMP_NUM_THREADS", "2", 2)])
def test_threads_come_from_the_environment(monkeypatch, variable, text, threads):
    monkeypatch.delenv("FASTTRAIN_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert backend.num_threads() >= 1
    monkeypatch.setenv(variable, text)
    assert backend.num_threads() == threads


@pytest.mark.parametrize(
    ("value", "error", "words"),
    [
        ([1], TypeError, "op: x must be a numpy array, got list"),
        (np.zeros(3, np.int32), TypeError, "op: x must have dtype float64, got int32"),
        (np.zeros((2, 3)), ValueError, r"op: x must have shape \(None,\), got \(2, 3\)"),
        (np.zeros(6)[::2], ValueError, "op: x must be C-contiguous"),
    ],
)
def test_check_array(value, error, words):
    with pytest.raises(error, match=words):
        check.array("op", "x", value, np.float64, (None,))


def test_freed_pages_stay_in_the_process():
    """A block above glibc's limit, freed and taken again, is served without new page faults once pages are kept."""
    import subprocess
    import sys

    code = """
import resource, numpy as np
from fasttrain.core import malloc
kept = malloc.keep_pages()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.empty(64 << 20, np.uint8).fill(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
first, second = faults(), faults()
print(kept, second < first / 10)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    if out[0] == "False":
        pytest.skip("no mallopt on this platform")
    assert out == ["True", "True"]
    assert malloc.keep_pages() in (True, False)
