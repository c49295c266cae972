import numpy as np
import pytest

from fasttrain.core.philox import philox, words


@pytest.mark.parametrize(  # kat_vectors of the authors' Random123, "philox4x32 10"
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_known_answers(counter, key, expected):
    low, high = (int(x, 16) for x in key.split())
    counters = np.array([int(x, 16) for x in counter.split()], np.uint32)
    assert [f"{x:08x}" for x in philox(counters, low | high << 32)] == expected.split()


def test_a_block_holds_the_words_of_its_sixteen_counters():
    key, drawn = 0x0123456789ABCDEF, words(5, 3, 7, 8, 9, 0x0123456789ABCDEF)
    assert drawn.shape == (3, 64)
    for block, lane, word in ((0, 0, 0), (1, 15, 3), (2, 4, 2)):
        counter = np.array([16 * (5 + block) + lane, 7, 8, 9], np.uint32)
        assert drawn[block, 16 * word + lane] == philox(counter, key)[word]
