"""Texts to token ids: the native encoder and the vocabulary that it works on."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer import bpe_encode_ref, patterns

MAX_ID, _MAX_RANK = (1 << 21) - 2, (1 << 22) - 2  # what a slot of the native pair table holds

CACHE_BYTES = 1 << 27
"""Of each thread: a corpus of 100 MB has about 700,000 different pieces, which fill half of it."""


class BpeModel:
    """A byte-level BPE vocabulary: merges, the bytes' ids and the pattern; what `bpe_encode` needs and nothing else."""

    def __init__(
        self,
        *,
        tokens: Sequence[bytes],
        pairs: npt.NDArray[np.uint32],
        ranks: npt.NDArray[np.uint32],
        id_of_rank: npt.NDArray[np.uint32],
        byte_ids: npt.NDArray[np.uint32],
        pattern: str,
        ignore_merges: bool = False,
        added: Mapping[bytes, int] | None = None,
        cache_bytes: int = CACHE_BYTES,
    ) -> None:
        """Check and keep the parts.

        Args:
            tokens: V byte strings by id ("" is never emitted whole); what a new cache starts with.
            pairs: (M, 2) uint32. Left and right id of each merge.
            ranks: (M,) uint32. Its priority, lower first; equal ranks give the same id.
            id_of_rank: (R,) uint32. The id that a merge of that rank gives.
            byte_ids: (256,) uint32. Id of each byte.
            pattern: the pretokenizer's.
            ignore_merges: a piece that is a token is that token, whatever the merges say.
            added: texts that are tokens wherever they occur, when `bpe_encode` is asked to look for them.
            cache_bytes: what each thread may keep of pieces already encoded. The ids do not depend on it.
        Raises: TypeError, ValueError: a wrong dtype, shape, id, rank or pattern.
        """
        op = "bpe_encode"
        num = len(ranks)
        check.array(op, "pairs", pairs, np.uint32, (num, 2))
        check.array(op, "ranks", ranks, np.uint32, (num,))
        check.array(op, "id_of_rank", id_of_rank, np.uint32, (None,))
        check.array(op, "byte_ids", byte_ids, np.uint32, (256,))
        for name, value in (("pairs", pairs), ("id_of_rank", id_of_rank), ("byte_ids", byte_ids)):
            if value.size and int(value.max()) > MAX_ID:
                raise ValueError(f"{op}: {name} must hold ids up to {MAX_ID}, got {int(value.max())}")
        if num and int(ranks.max()) >= min(len(id_of_rank), _MAX_RANK):
            raise ValueError(f"{op}: ranks must be below {min(len(id_of_rank), _MAX_RANK)}, got {int(ranks.max())}")
        if cache_bytes < 0:
            raise ValueError(f"{op}: cache_bytes must be at least 0, got {cache_bytes}")
        self.cache_bytes = cache_bytes
        self.added = dict(added or {})
        if b"" in self.added or any(not 0 <= i <= MAX_ID for i in self.added.values()):
            raise ValueError(f"{op}: added must be texts of at least a byte with ids up to {MAX_ID}")
        self.number = patterns.number(op, pattern)
        self.tokens, self.pairs, self.ranks, self.id_of_rank = tuple(tokens), pairs, ranks, id_of_rank
        self.byte_ids, self.pattern, self.ignore_merges = byte_ids, pattern, ignore_merges

    @cached_property
    def handle(self) -> Any:
        """The native model, which also keeps each worker's cache warm between calls."""
        column, added = from_texts(self.tokens), from_texts(self.added)
        added_ids = np.array(list(self.added.values()), np.uint32)
        return backend.native("BpeModel")(
            column.data, column.offsets, self.pairs, self.ranks, self.id_of_rank, self.byte_ids,
            added.data, added.offsets, added_ids, self.number, self.ignore_merges, self.cache_bytes,
        )  # fmt: skip

    @cached_property
    def reference(self) -> tuple[str, list[int], dict[tuple[int, int], tuple[int, int]], dict[bytes, int]]:
        """The same as plain Python data."""
        merges = {
            (int(a), int(b)): (int(r), int(self.id_of_rank[r])) for (a, b), r in zip(self.pairs, self.ranks.tolist())
        }
        whole = {t: i for i, t in reversed(list(enumerate(self.tokens))) if t} if self.ignore_merges else {}
        return self.pattern, self.byte_ids.tolist(), merges, whole


def bpe_encode(
    model: BpeModel,
    column: TextColumn,
    *,
    eot: int | None = None,
    finds_added: bool = False,
    threads: int | None = None,
    impl: str | None = None,
) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int64]]:
    """Return the ids of all texts, one after another, and where each text's begin.

    Shapes: N texts of S bytes, T ids.
    Args:
        column: N texts.
        eot: appended to each text's ids; None: nothing is.
        finds_added: the model's added tokens are looked for first, leftmost, of those the longest.
        threads: at most so many; backend.num_threads() when None. The ids do not depend on it.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: (T,) uint32 and (N+1,) int64: text n is ids[offsets[n]:offsets[n + 1]].
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, or an impl.
    Cost: O(S) for the scan, O(P log P) for a piece of P bytes that no cache holds; 4 (S + N) bytes of address space,
        of which about 4 T are touched; at most the model's cache_bytes a thread, kept with it.
    Source: Sennrich et al. 2016, over bytes; merge semantics of Hugging Face tokenizers.
    """
    op = "bpe_encode"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    if eot is not None and not 0 <= eot <= MAX_ID:
        raise ValueError(f"{op}: eot must be an id up to {MAX_ID}, got {eot}")
    impl = backend.choose(op, impl)
    offsets = np.zeros(len(column) + 1, np.int64)
    if impl == "reference":
        tail = [] if eot is None else [eot]
        added = model.added if finds_added else {}
        texts = [bpe_encode_ref.encode(column[n], *model.reference, added) + tail for n in range(len(column))]
        np.cumsum([len(t) for t in texts], out=offsets[1:])
        return np.array([i for t in texts for i in t], np.uint32), offsets
    ids = np.empty(column.num_bytes + len(column), np.uint32)
    backend.native(op)(
        model.handle, column.data, column.offsets, ids, offsets, -1 if eot is None else eot, finds_added,
        threads or backend.num_threads(), impl,
    )  # fmt: skip
    ids.resize(int(offsets[-1]), refcheck=False)  # gives the untouched address space back, moves nothing
    return ids, offsets
