"""Records between phases, on disk: each part writes its records sorted by target, each target gathers its slices.

A file of records is one or more runs; a run is sorted by target and an offsets table says where each target begins. So
a part of any size is written through one buffer, there are as many files as parts and not parts times targets, and any
rank gathers any target: the shared file system is the exchange between ranks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from fasttrain.formats.part import PartWriter

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]
"""(n, W) records of W 64-bit words."""


def save(writer: PartWriter, suffix: str, array: npt.NDArray[Any]) -> None:
    """Write an array as one of the part's files."""
    with writer.path(suffix, len(array)).open("wb") as file:
        np.save(file, array)


def raw(path: Path, dtype: Any, shape: tuple[int, ...] = (-1,)) -> npt.NDArray[Any]:
    """Map a file of plain values into memory."""
    if path.stat().st_size == 0:
        return np.empty([max(n, 0) for n in shape], dtype)
    return np.asarray(np.memmap(path, dtype, "r")).reshape(shape)


def columns(*values: npt.NDArray[Any]) -> Words:
    """Records of 64-bit columns, whatever their dtype; their bits are kept."""
    return np.stack([np.ascontiguousarray(v).view(np.uint64) for v in values], axis=1)


def mix(keys: Words) -> Words:
    """A bijection of 64-bit numbers that spreads any of their bits over all (the finaliser of MurmurHash3)."""
    keys = keys ^ (keys >> np.uint64(33))
    keys = keys * np.uint64(0xFF51AFD7ED558CCD)  # mod 2**64
    keys ^= keys >> np.uint64(33)
    keys *= np.uint64(0xC4CEB9FE1A85EC53)
    keys ^= keys >> np.uint64(33)
    return keys


def spread(keys: Words, num_targets: int) -> Ints:
    """A target for each key: equal keys have equal targets."""
    return (mix(keys) % np.uint64(num_targets)).astype(np.int64)


Source = tuple[Callable[[], Iterable[Words]], int, int]
"""Slices of records, not yet read, as often as they are asked for; the column whose values are to meet; the width."""


def together(sources: Sequence[Source], limit: int) -> Iterator[list[Words]]:
    """The records of several sources in pieces of about `limit` in all; equal values of the sources' columns come in
    one piece."""
    total = sum(len(s) for slices, _, _ in sources for s in slices())
    count = 1 if total <= limit else 2 * -(-total // limit)
    for piece in range(count):
        yield [np.concatenate(list(_chosen(source, piece, count, limit))) for source in sources]


def _chosen(source: Source, piece: int, count: int, limit: int) -> Iterator[Words]:
    slices, column, width = source
    yield np.empty((0, width), np.uint64)
    for records in slices():
        for begin in range(0, len(records), limit):
            block = records[begin : begin + limit]
            # The high half: the low bits have chosen the target already.
            chosen = (mix(block[:, column]) >> np.uint64(32)) % np.uint64(count) == piece if count > 1 else slice(None)
            yield np.array(block[chosen])


class Scatter:
    """Writes one part's records for each of `num_targets` targets. A context manager; holds `limit` records at most."""

    def __init__(self, writer: PartWriter, suffix: str, width: int, num_targets: int, limit: int) -> None:
        self._writer, self._suffix, self._width, self._limit = writer, suffix, width, limit
        self._targets = num_targets
        self._held: list[tuple[Words, Ints]] = []
        self._count = 0
        self._offsets: list[Ints] = []
        self._written = 0

    def __enter__(self) -> Self:
        self._file = self._writer.path(self._suffix, 0).open("wb")
        return self

    def add(self, records: Words, target: Ints) -> None:
        """Append (n, W) records, each with its target."""
        self._held.append((records, target))
        self._count += len(records)
        if self._count >= self._limit:
            self._flush()

    def _flush(self) -> None:
        if self._count:
            target = np.concatenate([t for _, t in self._held]).astype(
                np.uint16 if self._targets <= 1 << 16 else np.int64
            )
            records = np.concatenate([r for r, _ in self._held])
            self._held, self._count = [], 0
            records[np.argsort(target, kind="stable")].tofile(self._file)
            offsets = np.zeros(self._targets + 1, np.int64)
            np.cumsum(np.bincount(target, minlength=self._targets), out=offsets[1:])
            self._offsets.append(offsets + self._written)
            self._written += len(records)

    def __exit__(self, kind: Any, *exc: Any) -> None:
        with self._file:
            if kind is None:
                self._flush()
        if kind is None:
            # Raw, its width first: parsing the header of a .npy file leaves a kilobyte for the garbage collector.
            offsets = np.concatenate([[self._targets + 1], *self._offsets])
            offsets.tofile(self._writer.path(f"{self._suffix}.offsets", len(offsets)))


class Gather:
    """What the parts of a phase wrote with `Scatter`, by target. `stems`: .../part-00007 of each part.

    A file is mapped while its slice is looked at, not longer: there are as many as parts, and a map costs kilobytes."""

    def __init__(self, stems: Sequence[Path], suffix: str, width: int) -> None:
        self._paths = [s.with_name(s.name + suffix) for s in stems]
        self._width = width

    def _bounds(self, path: Path, target: int) -> list[tuple[int, int]]:
        found = raw(path.with_name(f"{path.name}.offsets"), np.int64)
        offsets = found[1:].reshape(-1, int(found[0]))
        return [(begin, end) for begin, end in offsets[:, target : target + 2].tolist() if end > begin]

    def slices(self, target: int) -> Iterator[Words]:
        """The records of a target, one run after another, not yet read."""
        for path in self._paths:
            if bounds := self._bounds(path, target):
                records = raw(path, np.uint64, (-1, self._width))
                for begin, end in bounds:
                    yield records[begin:end]

    def count(self, target: int) -> int:
        """How many records a target has."""
        return sum(end - begin for path in self._paths for begin, end in self._bounds(path, target))

    def read(self, target: int) -> Words:
        """All records of a target."""
        return np.concatenate([np.empty((0, self._width), np.uint64), *self.slices(target)])

    def pieces(self, target: int, column: int, limit: int) -> Iterator[Words]:
        """All records of a target in pieces of about `limit`; equal values of a column come in one piece."""
        for (found,) in together([(lambda: self.slices(target), column, self._width)], limit):
            yield found

    def between(self, target: int, column: int, begin: int, end: int) -> Words:
        """The records of a target with begin <= column < end."""
        found = [np.empty((0, self._width), np.uint64)]
        for records in self.slices(target):
            for at in range(0, len(records), 1 << 16):
                block = records[at : at + (1 << 16)]
                found.append(block[(block[:, column] >= begin) & (block[:, column] < end)])
        return np.concatenate(found)

    def all(self, limit: int) -> Iterator[Words]:
        """Every record, at most `limit` at a time."""
        for path in self._paths:
            records = raw(path, np.uint64, (-1, self._width))
            for begin in range(0, len(records), limit):
                yield records[begin : begin + limit]
