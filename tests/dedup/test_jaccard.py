import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.dedup.jaccard import jaccard

OP = "jaccard"


def pack(sets):
    offsets = np.concatenate([[0], np.cumsum([len(s) for s in sets])]).astype(np.int64)
    return np.array([x for s in sets for x in sorted(s)], np.uint64), offsets


def test_known_answer(impl):
    a = pack([{1, 2, 3}, set(), {2**64 - 1}])
    b = pack([{2, 3, 4, 5}, set(), {2**64 - 1}])
    pairs = np.array([(0, 0), (0, 1), (1, 1), (2, 2), (2, 0)])
    assert jaccard(a, b, pairs, impl=impl).tolist() == [2 / 5, 0.0, 0.0, 1.0, 0.0]


@given(st.lists(st.sets(st.integers(0, 60)), min_size=1, max_size=6))
def test_equals_python_sets(sets):
    packed, n = pack(sets), len(sets)
    pairs = np.array([(i, j) for i in range(n) for j in range(n)])
    want = [len(sets[i] & sets[j]) / max(len(sets[i] | sets[j]), 1) for i, j in pairs]
    for impl in ("reference", None):
        assert jaccard(packed, packed, pairs, impl=impl).tolist() == want


def test_no_pairs(impl):
    assert len(jaccard(pack([{1}]), pack([]), np.empty((0, 2), np.int64), impl=impl)) == 0


@pytest.mark.parametrize(
    ("pairs", "error", "words"),
    [
        (np.array([[0, 1]]), ValueError, r"must name sets below \(1, 1\)"),
        (np.array([[-1, 0]]), ValueError, "must name sets below"),
        (np.array([0, 0]), ValueError, r"pairs must have shape \(None, 2\)"),
        (np.array([[0, 0]], np.int32), TypeError, "pairs must have dtype int64, got int32"),
    ],
)
def test_refuses(pairs, error, words):
    with pytest.raises(error, match=words):
        jaccard(pack([{1}]), pack([{1}]), pairs)
