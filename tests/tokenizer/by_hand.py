"""A tokenizer that is small enough to be worked by hand: ids of bytes are the bytes, then a few merges."""

import numpy as np

from fasttrain.tokenizer import Tokenizer
from fasttrain.tokenizer.vocabulary import from_merges


def make(merges, special=(), pattern="cl100k", extra=(), ignore_merges=False):
    """`merges`: (left, right) byte strings in order; `extra`: tokens that no merge gives; `special`: the last ids."""
    tokens = [bytes([b]) for b in range(256)]
    id_of = {t: i for i, t in enumerate(tokens)}
    pairs, ids = [], []
    for left, right in merges:
        if left + right not in id_of:
            id_of[left + right] = len(tokens)
            tokens.append(left + right)
        pairs.append((id_of[left], id_of[right]))
        ids.append(id_of[left + right])
    tokens += extra
    names = {name: len(tokens) + k for k, name in enumerate(special)}
    tokens += [name.encode() for name in special]
    return Tokenizer(
        from_merges(tokens, names, np.array(pairs, np.uint32).reshape(-1, 2), np.array(ids, np.uint32), pattern,
                    ignore_merges=ignore_merges)
    )  # fmt: skip
