"""A source's tokens as sequences: which token ranges make up sequence i. A window holds T + 1 tokens: T inputs and, one
further, T targets.

concat    sequence i is tokens[i T : i T + T + 1]; documents run over the ends. Every token but the first of all is a
          target once.
best_fit  documents of at most T + 1 tokens stay whole; longer ones are cut into pieces of T + 1 and a rest. Documents
          and rests go, longest first, into the fullest window that still has room (best-fit decreasing; Ding et al.
          2024, arXiv:2404.10830). Every token is in exactly one window; what stays empty is padding.

The best-fit index is built once for (shard, T) and kept in a file that is mapped; memory is bounded whatever the size.
"""

import logging
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fasttrain.batch.permute import make_key
from fasttrain.formats import atomic
from fasttrain.formats.shards import Shard

log = logging.getLogger("fasttrain.batch")
Array = npt.NDArray[np.int64]
_VERSION = 1
BLOCK_DOCS = 1 << 22  # packed together; 0.5 GB of memory, and padding does not feel it
_NOTHING = (np.zeros(0, np.int64),) * 3


class Sequences(ABC):
    """The sequences of one source."""

    count: int
    """Sequences in an epoch."""

    @abstractmethod
    def ranges(self, windows: Array) -> tuple[Array, Array, Array]:
        """Ranges of the shard's tokens that make up the windows (n,): owner (position in `windows`, rising), start,
        length, each (m,). A window's ranges hold at most T + 1 tokens together."""


class Concat(Sequences):
    """Windows cut from the stream of tokens; the last one may be shorter."""

    def __init__(self, num_tokens: int, seq_len: int) -> None:
        self._num_tokens, self._seq_len = num_tokens, seq_len
        self.count = max(-(-(num_tokens - 1) // seq_len), 0)

    def ranges(self, windows: Array) -> tuple[Array, Array, Array]:
        start = windows * self._seq_len
        return np.arange(len(windows)), start, np.minimum(self._seq_len + 1, self._num_tokens - start)


class BestFit(Sequences):
    """Windows filled with whole documents. `cache`: folder of the index file; None keeps the index in memory."""

    def __init__(self, shard: Shard, seq_len: int, cache: Path | None = None) -> None:
        flat = _cached(shard, seq_len, cache) if cache is not None else build_index(shard.offsets, seq_len)
        self.count, num_pieces = int(flat[0]), int(flat[1])
        self._ends = flat[2 : 3 + self.count]
        self._start = flat[3 + self.count : 3 + self.count + num_pieces]
        self._length = flat[3 + self.count + num_pieces :]

    def ranges(self, windows: Array) -> tuple[Array, Array, Array]:
        first, counts = self._ends[windows], self._ends[windows + 1] - self._ends[windows]
        pieces = runs(first, counts)
        return np.repeat(np.arange(len(windows)), counts), self._start[pieces], self._length[pieces]


def runs(first: Array, counts: Array) -> Array:
    """first[0], first[0] + 1, ... (counts[0] of them), then those of first[1], and so on."""
    return np.repeat(first - (np.cumsum(counts) - counts), counts) + np.arange(int(counts.sum()))


def build_index(offsets: Array, seq_len: int, block_docs: int = BLOCK_DOCS) -> Array:
    """The best-fit index, flat int64: windows W, pieces P, ends (W+1,), start (P,), length (P,).

    Documents are packed `block_docs` at a time, so that memory does not grow with the shard; at most one window a block
    has more room than it need have.
    """
    blocks = list(_blocks(offsets, seq_len, block_docs))
    counts, start, length = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in zip(_NOTHING, *blocks))
    return np.concatenate([[len(counts), len(start)], [0], np.cumsum(counts), start, length]).astype(np.int64)


def write_index(path: Path, offsets: Array, seq_len: int, block_docs: int = BLOCK_DOCS) -> None:
    """`build_index` into a file; in memory is one block."""
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic.replacing(path))
        files = [stack.enter_context(tempfile.TemporaryFile(dir=path.parent)) for _ in range(3)]
        num_windows = num_pieces = 0
        files[0].write(np.zeros(1, "<i8").tobytes())
        for counts, start, length in _blocks(offsets, seq_len, block_docs):
            ends = num_pieces + np.cumsum(counts)
            num_windows, num_pieces = num_windows + len(counts), num_pieces + len(start)
            for file, values in zip(files, (ends, start, length)):
                file.write(np.ascontiguousarray(values, "<i8").data)
        with temporary.open("wb") as out:
            out.write(np.array([num_windows, num_pieces], "<i8").tobytes())
            for file in files:
                file.seek(0)
                shutil.copyfileobj(file, out, 1 << 24)


def _blocks(offsets: Array, seq_len: int, block_docs: int) -> Iterator[tuple[Array, Array, Array]]:
    """(pieces of each window, start, length of each piece) of one block of documents after another."""
    window = seq_len + 1
    for first_doc in range(0, len(offsets) - 1, block_docs):
        mine = np.asarray(offsets[first_doc : first_doc + block_docs + 1], np.int64)
        lengths = np.diff(mine)
        whole, rest = lengths // window, lengths % window
        first = np.repeat(np.cumsum(whole) - whole, whole)
        full_start = np.repeat(mine[:-1], whole) + (np.arange(len(first)) - first) * window
        has_rest = np.flatnonzero(rest)
        piece_start, piece_length = (mine[:-1] + whole * window)[has_rest], rest[has_rest]
        order = np.argsort(-piece_length, kind="stable")
        piece_start, piece_length = piece_start[order], piece_length[order]
        bins, num_bins = _best_fit(piece_length, window)
        by_bin = np.argsort(bins, kind="stable")
        num_full = len(full_start)
        counts = np.concatenate([np.ones(num_full, np.int64), np.bincount(bins, minlength=num_bins)[:num_bins]])
        start = np.concatenate([full_start, piece_start[by_bin]])
        length = np.concatenate([np.full(num_full, window), piece_length[by_bin]])
        yield counts.astype(np.int64), start.astype(np.int64), length.astype(np.int64)


def _best_fit(lengths: Array, window: int) -> tuple[Array, int]:
    """Bin of each piece, pieces given longest first; and the number of bins.

    All pieces of one length are placed together: best fit fills the fullest bin that has room, and as long as there is
    room for one more of the same length that bin stays the fullest, so each bin of room r takes floor(r / length).
    """
    bins = np.zeros(len(lengths), np.int64)
    free: dict[int, list[Array]] = {}  # bins by the room they have left
    rooms = 0  # bit r is set when free[r] holds a bin
    num_bins = 0
    sizes, firsts, counts = np.unique(-lengths, return_index=True, return_counts=True)
    for size, next_piece, left in zip((-sizes).tolist(), firsts.tolist(), counts.tolist()):
        while left:
            fitting = rooms >> size
            if fitting:
                room = size + (fitting & -fitting).bit_length() - 1
                candidates = np.concatenate(free.pop(room))
                rooms &= ~(1 << room)
            else:
                room = window
                candidates = np.arange(num_bins, num_bins - (-left // (window // size)))
                num_bins += len(candidates)
            each = room // size
            used = min(len(candidates), -(-left // each))
            placed = min(left, used * each)
            bins[next_piece : next_piece + placed] = np.repeat(candidates[:used], each)[:placed]
            in_last = placed - (used - 1) * each
            for group, taken in ((candidates[: used - 1], each), (candidates[used - 1 : used], in_last)):
                rooms = _give_back(free, rooms, room - taken * size, group)
            rooms = _give_back(free, rooms, room, candidates[used:])
            next_piece, left = next_piece + placed, left - placed
    return bins, num_bins


def _give_back(free: dict[int, list[Array]], rooms: int, room: int, bins: Array) -> int:
    if not len(bins) or not room:
        return rooms
    free.setdefault(room, []).append(bins)
    return rooms | 1 << room


def _cached(shard: Shard, seq_len: int, cache: Path) -> Array:
    path = cache / f"best_fit-{make_key(_VERSION, shard.fingerprint, seq_len):016x}.bin"
    if path.exists():
        try:
            flat = np.asarray(np.memmap(path, "<i8", mode="r"))
        except ValueError as error:  # empty, or not whole numbers of 8 bytes
            log.warning("%s: damaged (%s), built again", path, error)
        else:
            if len(flat) >= 2 and len(flat) == 3 + flat[0] + 2 * flat[1]:
                return flat
            log.warning("%s: has another size than it says, built again", path)
    write_index(path, shard.offsets, seq_len)
    return np.asarray(np.memmap(path, "<i8", mode="r"))
