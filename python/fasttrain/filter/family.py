"""What a family of rules is: how the stage asks it, and what it answers. All of it by the column, never by document.

A family is any object with `judge(documents, asked) -> Opinion` (families.py opens those that a recipe enables). The
stage asks the families in config.ORDER; each reads what the ones before it have left. What a family says of documents
that it is not asked about (`asked` False: their source's profile leaves it out) is ignored, so that it may judge the
whole batch where that is cheaper; it must not edit them.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fasttrain.filter.rules import Counts, Mode, Scores, Verdict
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn

Mask = npt.NDArray[np.bool_]


@dataclass
class Documents:
    """A batch of N documents as a family sees it."""

    batch: Any
    """pa.RecordBatch of formats.document.SCHEMA, as it was read."""
    texts: Any
    """(N,) pa.Array of large strings: the texts as edited so far."""
    languages: list[str]
    """(N,) Languages as named so far."""
    stats: Counts
    """(N, K) text_stats of the texts as they were read; its `left_*` columns of what the line rules leave."""
    edit: npt.NDArray[np.uint8]
    """(N,) Whose line rules edit each text (bits of line_edit)."""
    edited: TextColumn
    """(N,) The texts as the line rules leave them; family `lines` puts them in the place of the others."""
    standing: Mask
    """(N,) Documents that no family has dropped yet; an edit of others would be work for nothing."""
    threads: int
    """Threads that an op may use."""

    def __len__(self) -> int:
        return len(self.batch)

    def column(self, rows: npt.NDArray[np.int64]) -> TextColumn:
        """The texts of some rows as native ops take them; without a copy when all are asked for."""
        whole = len(rows) == len(self)
        return columns.from_arrow(self.texts if whole else self.texts.take(pa.array(rows)))

    def replaced(self, rows: npt.NDArray[np.int64], new: TextColumn) -> Any:
        """All N texts with those of `rows` taken from `new`; what an Opinion's `texts` wants."""
        if len(rows) == len(self):
            return columns.to_arrow(new)
        index = np.arange(len(self))
        index[rows] = len(self) + np.arange(len(rows))
        return pa.concat_arrays([self.texts, columns.to_arrow(new)]).take(pa.array(index))


Notes = Mapping[str, Any]
"""Keys of a JSON object by the column: key -> (N,) pa.Array of strings, JSON values; null where the key is absent."""


@dataclass(frozen=True)
class Opinion:
    """What one family says of N documents; whatever it has nothing to say about stays out."""

    verdict: Verdict | None = None
    """Rules, what was compared, and what is broken."""
    mode: Mode = "drop"
    """What a broken rule does to a document."""
    scores: Scores = "broken"
    """In tag mode: which documents get their values into meta.scores."""
    texts: Any = None
    """(N,) New texts (Documents.replaced). Documents that stay and whose text changed have decision `edited`."""
    edit: str | Mapping[str, Mask] = ""
    """The reason that the ledger gives for these edits, "pii:masked"; or reasons and the documents (N,) of each."""
    edit_evidence: Notes = field(default_factory=dict)
    """Evidence of edited documents, for those that stay."""
    languages: list[str] | None = None
    """(N,) New languages."""
    evidence: Notes = field(default_factory=dict)
    """Evidence of documents that are dropped, edited or tagged, or that carry `tagged` below."""
    meta: Notes = field(default_factory=dict)
    """What later stages learn of documents: keys of `meta`, in place of older ones; objects are merged."""
    counts: Mapping[str, npt.NDArray[np.integer[Any]]] = field(default_factory=dict)
    """Name -> (N,) numbers that are summed over the documents that stay, for the manifest: "masked:email"."""
    told: Mask | None = None
    """(N,) Documents that the ledger calls `tagged` though no rule is broken (what was flagged is in `evidence`)."""


class Family(Protocol):
    """Judges a batch. Made once a stage from the family's settings, used for every batch on this rank."""

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        """An opinion on the documents of `asked` (N,)."""


def named(reasons: tuple[str, ...], codes: npt.NDArray[np.integer[Any]], values: npt.NDArray[np.float64]) -> Verdict:
    """A verdict from at most one broken rule a document: its number + 1, or 0 for none; `values` are (N,)."""
    fails = codes[:, None] == np.arange(1, len(reasons) + 1)
    return Verdict(reasons, np.repeat(values[:, None], len(reasons), axis=1), fails)


@cache
def scalar(text: str | None) -> Any:
    """A pa.Scalar for compute functions, made once: pyarrow 26 looks for pandas whenever it makes one, 0.14 ms each."""
    return pa.scalar(text, pa.string())


EMPTY, NULL = scalar(""), scalar(None)


def note_number(values: npt.NDArray[np.integer[Any]]) -> Any:
    """A note that is a number; absent where it is 0."""
    return pa.array(values, mask=values == 0).cast(pa.string())


def note_numbers(values: Mapping[str, npt.NDArray[np.integer[Any]]]) -> Any:
    """A note that is an object of numbers; those that are 0 are left out, and so is an empty object."""
    some = {key: note_number(column) for key, column in values.items() if column.any()}
    return note_object(some) if some else pa.nulls(len(next(iter(values.values()))), pa.string())


def note_object(notes: Notes) -> Any:
    """A note that is an object of notes, keys in order; absent where all of them are."""
    if not notes:
        raise ValueError("note_object: at least one key is needed, got none")
    parts = [
        pc.binary_join_element_wise(scalar(json.dumps(key, ensure_ascii=False) + ": "), notes[key], scalar(", "), EMPTY)
        for key in sorted(notes)
    ]
    # null_handling="skip" would read better; pyarrow 26 loses the rows in which all parts are null.
    joined = pc.binary_join_element_wise(*(pc.coalesce(part, EMPTY) for part in parts), EMPTY)
    body = pc.utf8_slice_codeunits(joined, 0, -2)
    any_left = pc.invert(pc.equal(body, EMPTY))
    return pc.if_else(any_left, pc.binary_join_element_wise(scalar("{"), body, scalar("}"), EMPTY), NULL)


def note_rows(n: int, found: Mapping[int, Any]) -> Any:
    """A note from plain data for a few rows of N; a loop over documents, so only for what is rare."""
    cells: list[str | None] = [None] * n
    for row, value in found.items():
        cells[row] = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return pa.array(cells, pa.string())
