"""How a part that is one large file is made in pieces, by all ranks that have nothing else to do."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fasttrain.corpus import cutting, lake
from fasttrain.corpus.config import CorpusConfig
from fasttrain.corpus.intake import Taken, heads
from fasttrain.corpus.reading import by_source, read_part
from fasttrain.corpus.removals import Removals
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.pieces import Again, Cut


class LargeFiles:
    """How a part that is one large file is made in pieces."""

    def __init__(self, config: CorpusConfig, folder: Path, removals: Removals) -> None:
        self._config, self._folder, self._removals = config, folder, removals

    def cut(self) -> Cut[lake.Part]:
        """What map_parts takes."""
        return Cut(self._is_large, self._pieces, self._read, _forget, _joined, self._mend)

    def _is_large(self, part: lake.Part) -> bool:
        stated = self._config.policy.of_source(self._config.sources[part.source].name)
        return cutting.is_large(part, self._config) and (stated is None or stated.verdict != "deny")

    def _pieces(self, part: lake.Part, folder: Path) -> Iterator[dict[str, Any]]:
        source = self._config.sources[part.source]
        return (asdict(p) for p in cutting.pieces(part.files[0], source, self._config.part_bytes, folder))

    def _read(self, part: lake.Part, piece: dict[str, Any], writer: PartWriter, taken: Taken | None = None) -> None:
        of = lake.Piece(**piece)
        passed_over = part.passed_over if of.number == 0 else ()
        read_part(
            replace(part, files=(replace(part.files[0], piece=of),), passed_over=passed_over),
            self._config, writer, self._removals, taken,
        )  # fmt: skip

    def _mend(self, part: lake.Part, folder: Path, reports: list[PartReport], again: Again) -> None:
        """Make pieces again whose origins are those of pieces before, knowing them: rare, and only by all to be seen.

        8 bytes a document.
        """
        found = [_document_heads(self._folder, report) for report in reports]
        if len(np.unique(np.concatenate(found))) == sum(map(len, found)):
            return
        taken = Taken()
        for number, piece in enumerate(self._pieces(part, folder)):
            if taken.find(found[number]).any():
                report = again(number, partial(self._read, part, piece, taken=taken))
                found[number] = _document_heads(self._folder, report)
            _forget(piece)
            taken.add(found[number])


def _forget(piece: dict[str, Any]) -> None:
    if piece["path"]:
        Path(piece["path"]).unlink(missing_ok=True)


def _document_heads(folder: Path, report: PartReport) -> npt.NDArray[np.uint64]:
    """`heads` of what a piece read: its documents, and what the policy or a removal kept out."""
    found = [np.zeros(0, np.uint64)]
    for file in report.files:
        if file.path.endswith(".ledger.parquet"):
            rows = pq.read_table(folder / file.path, columns=["doc_id", "reason"])
            rows = rows.filter(pc.invert(pc.starts_with(rows.column("reason"), "quarantine:")))
            found += [heads(chunk) for chunk in rows.column("doc_id").chunks]
    return np.concatenate(found)


def _joined(extras: list[dict[str, Any]]) -> dict[str, Any]:
    """The extra of a file of those of its pieces."""
    source = extras[0]["source"]
    return {"source": source, **by_source(extras)[source]}
