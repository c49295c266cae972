"""Winnowing in plain Python: the definition that every other implementation must equal."""

from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle_ref import NGRAM_BASE, mix64


def anchors(text: bytes, k: int, w: int) -> list[tuple[int, int]]:
    """(hash, first byte) of each anchor of one text, in order."""
    hashes = []
    for i in range(len(text) - k + 1):
        total = 0
        for byte in text[i : i + k]:
            total = (total * NGRAM_BASE + byte) % 2**64
        hashes.append(mix64(total))
    chosen = {min(range(i, i + w), key=hashes.__getitem__) for i in range(len(hashes) - w + 1)}
    return [(hashes[i], i) for i in sorted(chosen)]


def winnow(column: TextColumn, k: int, w: int) -> list[tuple[int, int, int]]:
    """(hash, text, first byte) of each anchor."""
    return [(h, n, i) for n in range(len(column)) for h, i in anchors(column[n], k, w)]
