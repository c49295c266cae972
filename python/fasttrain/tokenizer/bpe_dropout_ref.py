"""BPE-dropout in plain Python: the definition that every other implementation must equal id for id."""

from collections.abc import Mapping
from itertools import pairwise

from fasttrain.tokenizer import pretokenize_ref

_MASK = (1 << 64) - 1
DRAW_BITS = 53


def mix(x: int) -> int:
    """The finaliser of splitmix64 (Steele et al. 2014)."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ x >> 27) * 0x94D049BB133111EB & _MASK
    return x ^ x >> 31


def text_key(seed: int, number: int) -> int:
    """What the draws of one text begin with."""
    return mix(mix(seed) + number & _MASK)


def draw(key: int, byte: int, step: int) -> int:
    """53 random bits: of the merge whose left symbol begins at a byte of the text, at a step of its piece."""
    return mix(mix(key + byte & _MASK) + step & _MASK) >> 64 - DRAW_BITS


def merge(
    piece: bytes,
    byte_ids: list[int],
    merges: Mapping[tuple[int, int], tuple[int, int]],
    key: int,
    threshold: int,
    at: int,
) -> list[int]:
    """Ids of one piece, which begins at byte `at` of its text. `merges`: (left, right) -> (rank, id of both)."""
    symbols = [(byte_ids[b], at + i) for i, b in enumerate(piece)]
    step = 0
    while True:
        ranked = [
            (merges[a, b][0], i)
            for i, ((a, begin), (b, _)) in enumerate(pairwise(symbols))
            if (a, b) in merges and draw(key, begin, step) >= threshold
        ]
        if not ranked:
            return [i for i, _ in symbols]
        _, i = min(ranked)  # the lowest rank, the leftmost of equals
        symbols[i : i + 2] = [(merges[symbols[i][0], symbols[i + 1][0]][1], symbols[i][1])]
        step += 1


def encode(
    text: bytes,
    pattern: str,
    byte_ids: list[int],
    merges: Mapping[tuple[int, int], tuple[int, int]],
    key: int,
    threshold: int,
    at: int = 0,
) -> list[int]:
    """Ids of one text, or of what of it begins at byte `at`, between added tokens."""
    ids: list[int] = []
    for piece in pretokenize_ref.pieces(text, pattern):
        ids += merge(piece, byte_ids, merges, key, threshold, at)
        at += len(piece)
    return ids
