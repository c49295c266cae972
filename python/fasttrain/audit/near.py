"""Near duplicates of a text among everything that was read: exact similarity of shingle sets, nothing hashed away.

All texts are scanned: shingling runs at hundreds of MB/s, so a band index would save seconds and could miss a copy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from heapq import nlargest

import numpy as np
import numpy.typing as npt

from fasttrain.audit.ledger import Ledger, document_files
from fasttrain.core.errors import ConfigError
from fasttrain.formats.document import iter_documents
from fasttrain.formats.run_folder import RunFolder
from fasttrain.text import columns
from fasttrain.text.shingle import shingle


@dataclass(frozen=True, kw_only=True)
class Near:
    """One document that is like the text."""

    doc_id: str  # 32 hex digits
    source: str
    origin: str
    jaccard: float  # shared shingles to all shingles of both
    text_in_document: float  # share of the text's shingles that the document holds
    document_in_text: float  # share of the document's shingles that the text holds


def near(run: RunFolder, text: str, *, threshold: float = 0.5, ngram: int = 5, limit: int = 20) -> list[Near]:
    """Return the documents of the lake that are like `text`, the most alike first.

    Args:
        threshold: least Jaccard similarity or containment, whichever is greatest, in (0, 1].
        ngram: words in a shingle; FineWeb's normalisation (text.shingle_ref).
    Raises: ConfigError: a text without words, or a threshold out of range. FormatError: no such run folder.
    Cost: one pass over the texts that were read; memory of one batch.
    """
    if not len(_shingles(text, ngram)):
        raise ConfigError("audit: the text must hold a word; there is nothing to compare")
    found: list[Near] = []
    for batch in scan(run, [text], threshold=threshold, ngram=ngram):
        found = nlargest(limit, found + [n for _, n in batch], key=_rank)  # never more than a batch and the best so far
    return found


def scan(run: RunFolder, texts: Sequence[str], *, threshold: float, ngram: int = 5) -> Iterator[list[tuple[int, Near]]]:
    """Yield, batch by batch of what was read, (number of the text, document like it). A text without words has none.

    Raises, cost: as `near`; the lake is shingled once for all texts, and each text is looked up in each batch.
    """
    if not 0 < threshold <= 1:
        raise ConfigError(f"audit: the threshold must lie in (0, 1], got {threshold}")
    wanted = [_shingles(text, ngram) for text in texts]
    with Ledger(run) as ledger:
        stages = ledger.stages()
    for path in [p for files in document_files(run, stages[0]).values() for p in files] if stages else []:
        for batch in iter_documents(path, ["doc_id", "text", "source", "origin"], rows=1024):
            sets, offsets = shingle(columns.from_arrow(batch.column("text")), n=ngram, sets=True)
            sizes = np.diff(offsets)
            found: list[tuple[int, Near]] = []
            for number, mine in enumerate(wanted):
                if not len(mine):
                    continue
                shared = _shared(sets, offsets, mine)
                jaccard = shared / np.maximum(sizes + len(mine) - shared, 1)
                inside, outside = shared / len(mine), shared / np.maximum(sizes, 1)
                for i in np.flatnonzero(np.maximum(inside, outside) >= threshold).tolist():
                    document = Near(
                        doc_id=batch.column("doc_id")[i].as_py().hex(),
                        source=batch.column("source")[i].as_py(),
                        origin=batch.column("origin")[i].as_py(),
                        jaccard=float(jaccard[i]),
                        text_in_document=float(inside[i]),
                        document_in_text=float(outside[i]),
                    )
                    found.append((number, document))
            yield found


def _shingles(text: str, ngram: int) -> npt.NDArray[np.uint64]:
    sets, _ = shingle(columns.from_texts([text]), n=ngram, sets=True)
    return np.asarray(sets, np.uint64)


def _rank(n: Near) -> tuple[float, float, str]:
    return n.jaccard, max(n.text_in_document, n.document_in_text), n.doc_id


def _shared(
    sets: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64], wanted: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """(N,) How many of `wanted` (sorted, no repeats) are in each set."""
    at = np.minimum(np.searchsorted(wanted, sets), len(wanted) - 1)
    before = np.concatenate([[0], np.cumsum(wanted[at] == sets)])
    return np.asarray(before[offsets[1:]] - before[offsets[:-1]], np.int64)
