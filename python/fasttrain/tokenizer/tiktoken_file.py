"""The .tiktoken file: a line a token, base64 of its bytes and its rank, which is its id."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic
from fasttrain.tokenizer.tokenizer_json_check import check_id
from fasttrain.tokenizer.vocabulary import Vocabulary


def read(path: Path, pattern: str, special: Mapping[str, int]) -> Vocabulary:
    """Read a rank vocabulary: two neighbours merge when their bytes together are a token, the lowest id first, and a
    pretoken that is a token is emitted whole. That is tiktoken's meaning, id for id.

    Raises FormatError for a line that is not `base64 rank`, a token or rank that comes twice or is beyond what an id
    can be, a special token whose id is taken.
    """
    ranks: dict[bytes, int] = {}
    owner: dict[int, bytes] = {}
    for line_number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            encoded, rank_text = line.split()
            token, rank = base64.b64decode(encoded, validate=True), int(rank_text)
        except (ValueError, binascii.Error) as error:
            raise FormatError(f"{path}:{line_number}: must read `base64 rank` ({error}), got {line[:60]!r}") from error
        check_id(rank, f"{path}:{line_number}: the rank of {token!r}")
        if ranks.setdefault(token, rank) != rank or owner.setdefault(rank, token) != token:
            raise FormatError(f"{path}:{line_number}: {token!r} or its rank {rank} stands in an earlier line")
    if not ranks:
        raise FormatError(f"{path}: must hold a line `base64 rank` for each token, got none")
    for text, i in special.items():
        check_id(i, f"{path}: special token {text!r}")
    size = 1 + max([*ranks.values(), *special.values()], default=0)
    tokens = [b""] * size
    for token, rank in ranks.items():
        tokens[rank] = token
    for text, i in special.items():
        if tokens[i]:
            raise FormatError(f"{path}: special token {text!r} has id {i}, which is the id of {tokens[i]!r}")
        tokens[i] = text.encode()
    pairs, priorities = [], []
    for token, rank in sorted(ranks.items(), key=lambda kv: kv[1]):
        for cut in range(1, len(token)):
            left, right = ranks.get(token[:cut]), ranks.get(token[cut:])
            if left is not None and right is not None:
                pairs.append((left, right))
                priorities.append(rank)
    return Vocabulary(
        tokens=tuple(tokens),
        special=dict(sorted(special.items(), key=lambda kv: kv[1])),
        pairs=np.array(pairs, np.uint32).reshape(-1, 2),
        ranks=np.array(priorities, np.uint32),
        id_of_rank=np.arange(size, dtype=np.uint32),
        pattern=pattern,
        ignore_merges=True,
    )


def write(path: Path, vocabulary: Vocabulary) -> None:
    """Write the ordinary tokens, by id, whole or not at all; the file has no place for special ones.

    Raises FormatError for a normaliser, and for two tokens of the same bytes, which readers would take for one.
    """
    if vocabulary.normalizer is not None:
        raise FormatError(f"{path}: .tiktoken has no place for a normaliser, got {vocabulary.normalizer!r}")
    special = set(vocabulary.special.values())
    seen: dict[bytes, int] = {}
    lines = []
    for i, token in enumerate(vocabulary.tokens):
        if not token or i in special:
            continue
        if seen.setdefault(token, i) != i:
            raise FormatError(f"{path}: tokens {seen[token]} and {i} are both {token!r}; .tiktoken holds one of them")
        lines.append(b"%s %d\n" % (base64.b64encode(token), i))
    atomic.write_bytes(path, b"".join(lines))
