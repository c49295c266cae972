"""A byte-level BPE vocabulary as plain data: what a file holds and what encoding and decoding need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core.config import fingerprint
from fasttrain.core.errors import FormatError


@dataclass(frozen=True, kw_only=True, eq=False)
class Vocabulary:
    """V tokens, M merges."""

    tokens: tuple[bytes, ...]
    """By id: the bytes of an ordinary token, the UTF-8 of a special one, b"" where there is none."""
    special: Mapping[str, int]
    """Added tokens, special ones and others, and their ids, by id."""
    pairs: npt.NDArray[np.uint32]
    """(M, 2): left and right id of each merge."""
    ranks: npt.NDArray[np.uint32]
    """(M,): priority, lower first. In a merge list 0, 1, 2...; in a rank vocabulary the id of the result."""
    id_of_rank: npt.NDArray[np.uint32]
    """(R,): what a merge of that rank gives."""
    pattern: str
    """The pretokenizer's name (patterns.py)."""
    ignore_merges: bool = False
    """A pretoken that is a token is that token, whatever the merges say."""
    plain: frozenset[str] = frozenset()
    """Those of `special` that are text: decoding keeps them when special tokens are left out."""
    normalizer: Mapping[str, Any] | None = None
    """What is made of a text before it is cut, as tokenizer.json writes it (normalizers.py)."""
    flags: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Those of added_split.FLAGS that an added token has; what is not named has none."""

    def byte_ids(self, where: str) -> npt.NDArray[np.uint32]:
        """(256,) ids of the single bytes. Raises FormatError when one is missing."""
        special = set(self.special.values())
        found = {t: i for i, t in reversed(list(enumerate(self.tokens))) if len(t) == 1 and i not in special}
        if len(found) != 256:
            raise FormatError(f"{where}: must hold all 256 bytes as tokens, got {len(found)}; is it byte-level?")
        return np.array([found[bytes([b])] for b in range(256)], np.uint32)

    @property
    def fingerprint(self) -> str:
        """128 bits of the content, in hex: equal vocabularies give equal ids on every machine."""
        plain: list[Any] = [sorted(self.plain)] if self.plain else []
        if self.normalizer is not None or self.flags:
            flags = {text: sorted(own) for text, own in sorted(self.flags.items())}
            plain.append([self.normalizer, flags])
        return fingerprint(
            [
                [t.hex() for t in self.tokens],
                dict(self.special),
                self.pairs.tolist(),
                self.ranks.tolist(),
                self.id_of_rank.tolist(),
                self.pattern,
                self.ignore_merges,
                *plain,
            ]
        )


def from_merges(
    tokens: Sequence[bytes],
    special: Mapping[str, int],
    pairs: npt.NDArray[np.uint32],
    ids: npt.NDArray[np.uint32],
    pattern: str,
    *,
    ignore_merges: bool = False,
    plain: frozenset[str] = frozenset(),
    flags: Mapping[str, frozenset[str]] | None = None,
) -> Vocabulary:
    """A merge-list vocabulary: the order of `pairs` is the priority.

    Of a pair that is listed twice the last one counts, as in Hugging Face tokenizers.
    """
    keys = pairs[:, 0].astype(np.uint64) << np.uint64(32) | pairs[:, 1]
    _, last = np.unique(keys[::-1], return_index=True)
    kept = np.sort(len(keys) - 1 - last)
    return Vocabulary(
        tokens=tuple(tokens),
        special=dict(sorted(special.items(), key=lambda kv: kv[1])),
        pairs=np.ascontiguousarray(pairs[kept]),
        ranks=np.arange(len(kept), dtype=np.uint32),
        id_of_rank=np.ascontiguousarray(ids[kept]),
        pattern=pattern,
        ignore_merges=ignore_merges,
        plain=plain,
        flags=dict(flags or {}),
    )
