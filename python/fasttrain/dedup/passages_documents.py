"""The documents of the passages stage: their ranks, which decide what is earlier, and what the ledger calls them.

    names                       each part: policy keys, origins, sources
    (policy) order ranks        the order of preference, sorted on disk (order.py)

Between phases a document is its rank, so that nothing that is decided depends on the order of the input or on its
parts. Only what reads a part's text, or a name, asks for the place in the input (the row).
"""

from contextlib import ExitStack

import numpy as np
import numpy.typing as npt

from fasttrain.dedup import order
from fasttrain.dedup.exchange import Ints, Words, save
from fasttrain.dedup.passages_config import PassagesConfig
from fasttrain.dedup.rows import ROW, Part, Parts, ids_of, policy_keys
from fasttrain.formats.document import iter_documents
from fasttrain.formats.part import PartWriter
from fasttrain.formats.stage import Stage
from fasttrain.text import columns

LARGE = ("names", "policy", "order", "ranks")
"""Phases whose files go when all is done."""
WIDTH = 5
"""Words of a policy key: priority, doc_id, text_hash."""
ID = slice(1, 3)
"""The doc_id in a policy key."""


class Documents:
    """All documents of the input, by rank."""

    def __init__(self, stage: Stage, config: PassagesConfig) -> None:
        """Run the phases."""
        self.paths = stage.input_parts()
        rows = {stage.inputs[0][0] / f.path: f.rows for f in stage.inputs[0][1].files}
        counts = [rows[p] for p in self.paths]
        starts = np.cumsum([0, *counts]).tolist()
        stems = [stage.folder / "names" / f"part-{i:05d}" for i in range(len(counts))]
        self._preference = config.preference

        reports = stage.map_parts("names", range(len(counts)), self._names, output=False)
        sources = [tuple(r.extra["sources"]) for r in reports]
        self.all_sources = sorted({s for known in sources for s in known})
        self.parts = Parts(tuple(Part(*of, is_indexed=False) for of in zip(stems, starts, counts, sources)))
        self.order = order.rank(stage, self.parts, WIDTH, config.memory_records)

    def __len__(self) -> int:
        return self.parts.num_documents

    def _names(self, i: int, writer: PartWriter) -> None:
        sources: dict[str, int] = {}
        lengths = [np.zeros(1, np.int64)]
        with ExitStack() as stack:
            policy, origins, of = (
                stack.enter_context(writer.path(s, 0).open("wb")) for s in (".policy", ".origins", ".sources")
            )
            for batch in iter_documents(self.paths[i], ["doc_id", "text_hash", "source", "origin"]):
                row = np.zeros(len(batch), ROW)
                row["id"] = ids_of(batch.column("doc_id"))
                row["hash"] = ids_of(batch.column("text_hash"))
                policy_keys(batch, row, self._preference).tofile(policy)
                source = batch.column("source").dictionary_encode()
                number = [sources.setdefault(s, len(sources)) for s in source.dictionary.to_pylist()]
                np.array(number, np.int64)[source.indices.to_numpy(zero_copy_only=False)].tofile(of)
                names = columns.from_arrow(batch.column("origin"))
                names.data[names.offsets[0] : names.offsets[-1]].tofile(origins)
                lengths.append(np.diff(names.offsets))
        save(writer, ".origins.npy", np.cumsum(np.concatenate(lengths)))
        writer.extra = {"sources": list(sources)}

    def ranks(self, i: int) -> Words:
        """(count,) the rank of each document of a part, mapped."""
        return self.order.ranks(i)

    def part_of(self, ranks: Words) -> Ints:
        """The part of each document."""
        return self.parts.part_of(self.order.documents(ranks))

    def rows(self, i: int, ranks: Words) -> Words:
        """The rows of documents of a part."""
        return self.order.documents(ranks) - np.uint64(self.parts[i].first)

    def by_row(self, i: int, records: Words, column: int = 0) -> Words:
        """Records of documents of a part, with rows in place of the ranks in a column."""
        found = records.copy()
        found[:, column] = self.rows(i, records[:, column])
        return found

    def name(self, rank: int) -> tuple[str, str]:
        """doc_id in hex and origin of a document."""
        (document,) = self.order.documents(np.array([rank], np.uint64)).tolist()
        part = self.parts[int(self.parts.part_of(np.array([document]))[0])]
        row = document - part.first
        key = part.map(".policy", np.uint64, (-1, WIDTH))[row]
        return key[ID].astype(">u8").tobytes().hex(), part.origin(row)

    def source_numbers(self, ranks: Words) -> Ints:
        """A number of each document's source, the same in every part."""
        document = self.order.documents(ranks)
        found, part = np.empty(len(ranks), np.int64), self.parts.part_of(document)
        for i in np.unique(part).tolist():
            some, of = part == i, self.parts[i]
            known = np.array([self.all_sources.index(s) for s in of.sources], np.int64)
            at: npt.NDArray[np.int64] = of.map(".sources", np.int64)
            found[some] = known[at[document[some].astype(np.int64) - of.first]]
        return found
