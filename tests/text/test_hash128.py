import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.text.hash128 import hash128

OP = "hash128"


@pytest.mark.parametrize(
    ("text", "seed", "digest"),
    [  # published values of MurmurHash3_x64_128 (smhasher; the mmh3 package prints the same)
        (b"", 0, "00000000000000000000000000000000"),
        (b"hello", 0, "029bbd41b3a7d8cb191dae486a901e5b"),
        (b"The quick brown fox jumps over the lazy dog", 0, "6c1b07bc7bbc4be347939ac4a93c437a"),
    ],
)
def test_known_answer(impl, text, seed, digest):
    assert hash128(columns.from_texts([text]), seed=seed, impl=impl).tobytes().hex() == digest


@given(st.lists(st.binary(max_size=70), max_size=20), st.integers(0, 2**32 - 1))
def test_native_equals_reference(texts, seed):
    column = columns.from_texts(texts)
    np.testing.assert_array_equal(hash128(column, seed=seed), hash128(column, seed=seed, impl="reference"))


def test_a_slice_hashes_as_itself(impl):
    array = pa.array(["drop", "keep", "", "κόσμε" * 9], pa.large_string())
    whole, part = columns.from_arrow(array), columns.from_arrow(array.slice(1, 3))
    np.testing.assert_array_equal(hash128(whole, impl=impl)[1:], hash128(part, impl=impl))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_matter(threads):
    column = columns.from_texts([bytes([i % 251]) * (i % 97) for i in range(3000)])
    np.testing.assert_array_equal(hash128(column, threads=threads), hash128(column, threads=1))


@pytest.mark.parametrize(
    ("data", "offsets", "error", "words"),
    [
        (np.zeros(3, np.int8), np.array([0, 3]), TypeError, "hash128: data must have dtype uint8, got int8"),
        (np.zeros(3, np.uint8), np.array([0, 4]), ValueError, "offsets must rise from 0 to at most 3"),
        (np.zeros(3, np.uint8), np.array([2, 1]), ValueError, "offsets must rise"),
        (np.zeros(3, np.uint8), np.array([], np.int64), ValueError, "at least one offset"),
    ],
)
def test_refuses(data, offsets, error, words):
    with pytest.raises(error, match=words):
        hash128(TextColumn(data, offsets))
