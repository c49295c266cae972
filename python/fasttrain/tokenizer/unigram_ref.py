"""Unigram encoding (Viterbi) in plain Python: the definition that every other implementation must equal id for id."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

UNK_PENALTY, LOWEST_SUM = 10.0, -100_000.0


def encode_wide(
    text: bytes, ids: Mapping[bytes, int], scores: Sequence[float], unk: int, longest: int
) -> list[tuple[bytes, int]]:
    """`encode` as Hugging Face tokenizers does it: sums are float64 and never begin anew, and the unknown's score is
    under that of all pieces."""
    return _encode(
        text, ids, [np.float64(s) for s in scores], np.float64(min(scores)) - UNK_PENALTY, unk, longest, False
    )


def encode(
    text: bytes, ids: Mapping[bytes, int], scores: list[float], bonus: frozenset[int], unk: int, longest: int
) -> list[tuple[bytes, int]]:
    """(piece, id) along the best path through one normalised text.

    ids: the pieces that may be used; scores: a float32 by id; `bonus`: ids of user-defined symbols, which score
    0.1 * bytes - 0.1. A character that is no piece scores min - 10 as `unk`. Sums are float32 from the text's begin,
    and below -100,000 on from zero, as SentencePiece 0.2.3 has them: its choice between paths that are equal but for
    rounding is part of the definition. Of equal paths the one through the longer last piece stays, found first.
    """
    used = [scores[i] for piece, i in ids.items() if i not in bonus]
    unk_score = np.float32(min(used) if used else 0) - np.float32(UNK_PENALTY)
    counted = [np.float32(s) for s in scores]
    for piece, i in ids.items():
        if i in bonus:
            counted[i] = np.float32(len(piece) * 0.1 - 0.1)
    return _encode(text, ids, counted, unk_score, unk, longest, True)


def _encode(
    text: bytes,
    ids: Mapping[bytes, int],
    scores: Sequence[np.floating[Any]],
    unk_score: np.floating[Any],
    unk: int,
    longest: int,
    begins_anew: bool,
) -> list[tuple[bytes, int]]:
    size = len(text)
    best = [unk_score * 0] * (size + 1)
    start = [-1] * (size + 1)
    which = [unk] * (size + 1)
    at = 0
    while at < size:
        step = _char_bytes(text, at)
        if begins_anew and best[at] < LOWEST_SUM:
            base = best[at]
            for end in range(at, min(size, at + longest) + 1):
                if end == at or start[end] >= 0:
                    best[end] -= base
        has_single = False
        for end in range(at + 1, min(size, at + longest) + 1):
            found = ids.get(text[at:end])
            if found is None:
                continue
            total = scores[found] + best[at]
            if start[end] < 0 or total > best[end]:
                best[end], start[end], which[end] = total, at, found
            has_single |= end - at == step
        if not has_single:
            end, total = at + step, unk_score + best[at]
            if start[end] < 0 or total > best[end]:
                best[end], start[end], which[end] = total, at, unk
        at += step
    out = []
    end = size
    while end > 0:
        out.append((text[start[end] : end], which[end]))
        end = start[end]
    return out[::-1]


def _char_bytes(text: bytes, at: int) -> int:
    """Bytes of the character that begins here, as its first byte says, inside the text."""
    lead = text[at]
    size = 1 if lead < 0xC0 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
    return min(size, len(text) - at)
