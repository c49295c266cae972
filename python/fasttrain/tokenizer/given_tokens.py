"""Tokens that must be in a vocabulary, as merges that come before all learnt ones.

They are ordinary tokens: no added-token matching, any library that reads merges treats them alike, and text that never
holds them is cut as ever. A token of more than two symbols needs the tokens of its parts, which count too.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from fasttrain.text import columns
from fasttrain.tokenizer.pretokenize import pretokenize


def merges(tokens: list[bytes], given: Sequence[str], whitespace_runs: int, pattern: str) -> npt.NDArray[np.uint32]:
    """(G, 3) uint32: left, right, result. Appends the new tokens to `tokens`, whose single bytes are known already.

    Args:
        given: texts that shall be one token each.
        whitespace_runs: every run of 2 to so many spaces shall be one token.
    Raises: ValueError: the pattern cuts a given text, so that no merge could ever give it.
    """
    known = {t: i for i, t in enumerate(tokens) if t}
    rules: list[tuple[int, int, int]] = []

    def join(left: int, right: int) -> None:
        token = tokens[left] + tokens[right]
        if token not in known:
            known[token] = len(tokens)
            tokens.append(token)
        rules.append((left, right, known[token]))

    # Powers of two first: a run is then their sum, largest first, and each shorter sum is a token: 11 = 8 + (2 + 1).
    sizes = range(2, whitespace_runs + 1)
    for size in sorted(sizes, key=lambda n: (n & (n - 1) != 0, n)):
        half = size // 2 if size & (size - 1) == 0 else 1 << (size.bit_length() - 1)
        join(known[b" " * half], known[b" " * (size - half)])
    for text in given:
        raw = text.encode()
        pieces, _ = pretokenize(columns.from_texts([raw]), pattern=pattern, impl="reference")
        if len(pieces) != 1:
            cut = [pieces[k].decode("utf-8", "replace") for k in range(len(pieces))]
            raise ValueError(
                f"bpe_train: given token {text!r} must be one piece of pattern {pattern}, which cuts {cut}"
            )
        symbols = _applied([known[bytes([b])] for b in raw], rules)
        while len(symbols) > 1:
            join(symbols[0], symbols[1])
            symbols = _applied(symbols, rules[-1:])
    return np.array(rules, np.uint32).reshape(-1, 3)


def _applied(symbols: list[int], rules: Sequence[tuple[int, int, int]]) -> list[int]:
    for left, right, merged in rules:
        if (left, right) not in pairwise(symbols):
            continue
        out: list[int] = []
        for s in symbols:
            # `out[-1]` is never a merged one of this rule by chance: a result is longer than its parts.
            if out and s == right and out[-1] == left:
                out[-1] = merged
            else:
                out.append(s)
        symbols = out
    return symbols
