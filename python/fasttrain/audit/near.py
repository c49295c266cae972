"""Near duplicates of a text among everything that was read: exact similarity of shingle sets, nothing hashed away.

All texts are scanned: shingling runs at hundreds of MB/s, so a band index would save seconds and could miss a copy.
"""

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
    if not 0 < threshold <= 1:
        raise ConfigError(f"audit: the threshold must lie in (0, 1], got {threshold}")
    wanted, _ = shingle(columns.from_texts([text]), n=ngram, sets=True)
    if len(wanted) == 0:
        raise ConfigError("audit: the text must hold a word; there is nothing to compare")
    found: list[Near] = []
    with Ledger(run) as ledger:
        stages = ledger.stages()
    for path in [p for files in document_files(run, stages[0]).values() for p in files] if stages else []:
        for batch in iter_documents(path, ["doc_id", "text", "source", "origin"], rows=1024):
            sets, offsets = shingle(columns.from_arrow(batch.column("text")), n=ngram, sets=True)
            sizes, shared = np.diff(offsets), _shared(sets, offsets, wanted)
            jaccard = shared / np.maximum(sizes + len(wanted) - shared, 1)
            inside, outside = shared / len(wanted), shared / np.maximum(sizes, 1)
            for i in np.flatnonzero(np.maximum(inside, outside) >= threshold).tolist():
                found.append(
                    Near(
                        doc_id=batch.column("doc_id")[i].as_py().hex(),
                        source=batch.column("source")[i].as_py(),
                        origin=batch.column("origin")[i].as_py(),
                        jaccard=float(jaccard[i]),
                        text_in_document=float(inside[i]),
                        document_in_text=float(outside[i]),
                    )
                )
            found = nlargest(limit, found, key=_rank)  # never more than a batch and the best so far
    return found


def _rank(n: Near) -> tuple[float, float, str]:
    return n.jaccard, max(n.text_in_document, n.document_in_text), n.doc_id


def _shared(
    sets: npt.NDArray[np.uint64], offsets: npt.NDArray[np.int64], wanted: npt.NDArray[np.uint64]
) -> npt.NDArray[np.int64]:
    """(N,) How many of `wanted` (sorted, no repeats) are in each set."""
    at = np.minimum(np.searchsorted(wanted, sets), len(wanted) - 1)
    before = np.concatenate([[0], np.cumsum(wanted[at] == sets)])
    return np.asarray(before[offsets[1:]] - before[offsets[:-1]], np.int64)
