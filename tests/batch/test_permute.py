import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.batch.permute import make_key, permute, subkeys

KEYS = st.integers(0, 2**64 - 1)


def key(value):
    return np.array([value], np.uint64)


@given(st.integers(1, 3000), KEYS)
def test_is_a_bijection(size, k):
    out = permute(np.arange(size), size, key(k))
    np.testing.assert_array_equal(np.sort(out), np.arange(size))


@given(st.integers(1, 2**62), KEYS, st.data())
def test_stays_in_large_domains_and_one_index_alone_gives_the_same(size, k, data):
    index = np.array(data.draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=20, unique=True)))
    out = permute(index, size, key(k))
    assert out.min() >= 0
    assert out.max() < size
    assert len(set(out.tolist())) == len(index)
    assert permute(index[-1:], size, key(k))[0] == out[-1]


def test_each_index_may_have_its_own_key():
    keys = subkeys(np.uint64(make_key("x")), np.array([0, 1, 2]))
    together = permute(np.array([7, 7, 7]), 1000, keys)
    assert together.tolist() == [permute(np.array([7]), 1000, keys[i : i + 1])[0] for i in range(3)]
    assert len(set(together.tolist())) > 1


@pytest.mark.parametrize("size", [2, 3, 7, 50])
def test_every_place_is_reached_equally_often(size):
    """Over many keys index 0 lands everywhere alike: chi-squared within mean + 6 sigma of its law (wide enough for
    one run in 10^8 at these sizes), keys fixed."""
    trials = 400 * size
    keys = subkeys(np.uint64(make_key("uniform")), np.arange(trials))
    landed = np.bincount(permute(np.zeros(trials, np.int64), size, keys), minlength=size)
    chi = ((landed - 400) ** 2 / 400).sum()
    assert chi < (size - 1) + 6 * np.sqrt(2 * (size - 1)) + 20


def test_neighbours_are_not_kept_together():
    out = permute(np.arange(10_000), 10_000, key(5))
    assert np.abs(np.corrcoef(np.arange(10_000), out)[0, 1]) < 4 / np.sqrt(10_000)
    assert (np.diff(out) == 1).sum() < 10  # one is expected


@pytest.mark.parametrize(("index", "size"), [([3], 3), ([-1], 3), ([0], 0), ([0], 2**62 + 1)])
def test_refuses(index, size):
    with pytest.raises(ValueError, match="permute: (size|index) must be in"):
        permute(np.array(index), size, key(1))
