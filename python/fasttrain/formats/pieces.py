"""A part that is too much for one rank: cut in pieces by the rank that has it, made by all that have nothing to do.

Where it is cut depends on the item alone, never on who is free, so that the files are the same on any number of ranks.
The rank that took the part goes through its pieces in order. While others wait for work it puts the next pieces up for
them, no more at a time than they can take, and makes one itself between: with no one waiting it makes them all, and
nothing but what it works on lies in `cut/`.
"""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from fasttrain.core.config import fingerprint
from fasttrain.formats.behind import Behind
from fasttrain.formats.claims import Claims
from fasttrain.formats.manifest import Report
from fasttrain.formats.part import PartReport, PartWriter

if TYPE_CHECKING:
    from fasttrain.formats.stage import Stage

T = TypeVar("T")
Piece = dict[str, Any]
Again = Callable[[int, Callable[[PartWriter], None]], PartReport]
"""Makes the piece of this number by other work."""
_WAIT_S = 0.02


@dataclass(frozen=True)
class Cut(Generic[T]):
    """How the items of a phase are cut."""

    is_large: Callable[[T], bool]
    """Whether an item is made in pieces."""
    pieces: Callable[[T, Path], Iterator[Piece]]
    """An item's pieces in order, each plain data (JSON) that says which; files for them go into the folder given."""
    work: Callable[[T, Piece, PartWriter], None]
    """Makes one piece."""
    done: Callable[[Piece], None]
    """Removes what a piece put into the folder."""
    join: Callable[[list[dict[str, Any]]], dict[str, Any]]
    """One `extra` of those of the pieces."""
    mend: Callable[[T, Path, list[PartReport], Again], None]
    """What only all pieces together show: given the item, the folder, every piece's report, and how to make one
    again."""


class Pieces(Generic[T]):
    """The large parts of one phase, seen by one rank."""

    def __init__(
        self,
        stage: "Stage",
        phase: str,
        items: Sequence[T],
        cut: Cut[T],
        key: Callable[[T], Any],
        shared: Claims,
        behind: Behind,
        note: Callable[[str], None],
        *,
        durable: bool,
    ) -> None:
        self._stage, self._phase, self._items, self._cut, self._key = stage, phase, items, cut, key
        self._shared, self._behind, self._note, self._durable = shared, behind, note, durable

    def make_part(self, index: int) -> bool:
        """Make a part in pieces, with the help of ranks that wait; False when it is not large."""
        item, stage = self._items[index], self._stage
        if not self._cut.is_large(item):
            return False
        key = fingerprint([self._phase, self._key(item)])
        if not stage.is_finished(self._phase, index, key, durable=self._durable):
            stage.marker(self._phase, index).unlink(missing_ok=True)  # its pieces may be whole
            folder = stage.folder / self._phase / "cut" / f"{index:05d}"
            shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
            folder.mkdir(parents=True)
            count = self._make_pieces(index, folder)
            reports = self._reports(index, count)
            self._cut.mend(item, folder, reports, partial(self._again, index))
            report = self._joined(self._reports(index, count))
            stage.write_marker(self._phase, index, key, report, durable=self._durable)
            shutil.rmtree(folder)
        return True

    def help(self) -> None:
        """Make what other ranks put up, until every rank is through with its parts."""
        self._shared.leave()
        while not self._shared.all_left():
            offers = self._shared.offers()
            if not any(self._accept(name) for name in offers):
                time.sleep(_WAIT_S)
        self._behind.wait()
        shutil.rmtree(self._stage.folder / self._phase / "cut", ignore_errors=True)

    def _make_pieces(self, index: int, folder: Path) -> int:
        """Go through the pieces; return how many there are, when all are finished."""
        waiting: list[int] = []  # offered, not accepted yet
        offered: list[int] = []
        count = more = 0
        for count, piece in enumerate(self._cut.pieces(self._items[index], folder), 1):
            number = count - 1
            waiting = [n for n in waiting if self._shared.is_open(f"{index}-{n}")]
            if self._is_finished(index, number):
                self._cut.done(piece)
            elif self._shared.helpers() > len(waiting):
                self._shared.offer(f"{index}-{number}", piece)
                waiting.append(number)
                offered.append(number)
            else:
                self._make(index, number, piece)
            self._note(f"{count} pieces of part {index}")
        for number in waiting:
            self._accept(f"{index}-{number}")
        self._behind.wait()
        while not all(self._stage.marker(self._phase, index, n).exists() for n in offered):
            time.sleep(_WAIT_S)
        while self._stage.marker(self._phase, index, count + more).exists():  # the file had more of them
            self._stage.drop_part(self._phase, index, count + more)
            more += 1
        return count

    def _accept(self, name: str) -> bool:
        """Make a piece that was put up, unless another rank has it."""
        piece = self._shared.accept(name)
        if piece is not None:
            index, _, number = name.partition("-")
            self._make(int(index), int(number), piece)
        return piece is not None

    def _make(self, index: int, number: int, piece: Piece) -> None:
        self._behind.begin(self._begun(index, number, partial(self._cut.work, self._items[index], piece)))
        self._cut.done(piece)

    def _begun(self, index: int, number: int, work: Callable[[PartWriter], None]) -> Callable[[], None]:
        key = self._piece_key(index, number)
        return self._stage.make(self._phase, index, key, work, piece=number, durable=self._durable)

    def _again(self, index: int, number: int, work: Callable[[PartWriter], None]) -> PartReport:
        self._stage.drop_part(self._phase, index, number)
        self._begun(index, number, work)()
        return self._stage.read_part(self._phase, index, number)

    def _is_finished(self, index: int, number: int) -> bool:
        key = self._piece_key(index, number)
        return self._stage.is_finished(self._phase, index, key, piece=number, durable=self._durable)

    def _piece_key(self, index: int, number: int) -> str:
        return fingerprint([self._phase, self._key(self._items[index]), number])

    def _reports(self, index: int, count: int) -> list[PartReport]:
        return [self._stage.read_part(self._phase, index, n) for n in range(count)]

    def _joined(self, reports: list[PartReport]) -> PartReport:
        return PartReport(
            files=tuple(file for report in reports for file in report.files),
            report=sum((report.report for report in reports), Report()),
            extra=self._cut.join([report.extra for report in reports]),
        )
