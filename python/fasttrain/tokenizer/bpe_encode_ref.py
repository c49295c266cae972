"""BPE encoding in plain Python: the definition that every other implementation must equal id for id."""

import re
from collections.abc import Mapping
from itertools import pairwise

from fasttrain.tokenizer import pretokenize_ref


def merge(piece: bytes, byte_ids: list[int], merges: Mapping[tuple[int, int], tuple[int, int]]) -> list[int]:
    """Ids of one piece. `merges`: (left id, right id) -> (rank, id of both together)."""
    ids = [byte_ids[b] for b in piece]
    while True:
        ranked = [(merges[pair][0], i) for i, pair in enumerate(pairwise(ids)) if pair in merges]
        if not ranked:
            return ids
        _, i = min(ranked)  # the lowest rank, the leftmost of equals
        ids[i : i + 2] = [merges[ids[i], ids[i + 1]][1]]


def encode(
    text: bytes,
    pattern: str,
    byte_ids: list[int],
    merges: Mapping[tuple[int, int], tuple[int, int]],
    whole: Mapping[bytes, int],
    added: Mapping[bytes, int],
) -> list[int]:
    """Ids of one text. `whole`: pieces that are emitted as they are (empty unless ignore_merges). `added`: texts that
    are cut out first, leftmost, of those the longest; what lies between is a text of its own."""
    if added:
        found = re.search(b"|".join(re.escape(t) for t in sorted(added, key=len, reverse=True)), text)
        if found:
            before = encode(text[: found.start()], pattern, byte_ids, merges, whole, {})
            rest = encode(text[found.end() :], pattern, byte_ids, merges, whole, added)
            return [*before, added[found.group()], *rest]
    ids: list[int] = []
    for piece in pretokenize_ref.pieces(text, pattern):
        ids += [whole[piece]] if piece in whole else merge(piece, byte_ids, merges)
    return ids
