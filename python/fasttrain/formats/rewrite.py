"""A part's documents written again by a stage that changes few: a part that stays as it is becomes a link.

To write a part costs more than to read and judge it (two thirds of `decontam` were Parquet's), and most parts that such
a stage reads hold nothing to change.
"""

import os
import shutil
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fasttrain.formats.document import iter_documents
from fasttrain.formats.part import PartWriter


class Rewrite:
    """Iterate over a part's batches and `write` each; from the first that differs on, all are written.

    Until then nothing is: what came before is read a second time, so that no batch waits in memory. Where nothing
    differs the file has the bytes of the one that was read.
    """

    def __init__(self, path: Path, writer: PartWriter, rows: int = 4096) -> None:
        self._path, self._writer, self._rows = path, writer, rows
        self._same = 0  # batches that came before the first difference
        self._documents = 0
        self._differs = False

    def __enter__(self) -> Self:
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(iter_documents(self._path, rows=self._rows))

    def write(self, batch: Any, new: Any) -> None:
        """Hand on `new` for the batch that was read; the batch itself when nothing in it has changed."""
        if new is not batch and not self._differs:
            self._differs = True
            for before in islice(self, self._same):
                self._writer.write(before)
        if self._differs:
            self._writer.write(new)
        else:
            self._same += 1
            self._documents += len(batch)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._documents and not self._differs:
            hand_on(self._path, self._writer, self._documents)


def hand_on(path: Path, writer: PartWriter, rows: int) -> None:
    """Make a part's file a link to one of an earlier stage; a copy where links cannot be had."""
    target = writer.path(".parquet", rows)
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:  # another file system, or one without links
        shutil.copyfile(path, target)
