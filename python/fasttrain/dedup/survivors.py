"""The end of the matter: each removed document with the one that stays in its place."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.exchange import Words
from fasttrain.dedup.rows import Parts
from fasttrain.formats.stage import evidence

EXACT, NEAR, SEMANTIC = 0, 1, 2
REASONS = ("exact", "near", "semantic")
NONE = np.uint64(2**64 - 1)
TABLE = np.dtype(
    [
        ("document", "<u8"),
        ("survivor", "<u8"),
        ("score", "<f8"),  # what was compared with the threshold
        ("bands", "<u8"),  # a bit for each band that proposed the pair
        ("copy_of", "<u8"),  # exact: the copy with the same text (itself gone when it is not the survivor), else NONE
        ("reason", "<u8"),
        ("rank", "<u8"),  # of the document
    ]
)
"""A removal, also as a record of TABLE_WORDS words."""
TABLE_WORDS = TABLE.itemsize // 8


def decide(edges: npt.NDArray[Any], copies: Words, is_removed: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """The removals among the worse documents of `edges` and the exact copies of them.

    Args:
        edges: of EDGE, all that share a worse document among them.
        copies: (k, 4) rank of the copy and of the best copy, document of both; none of the former is in `edges`.
        is_removed: by rank.
    """
    edges = edges[is_removed[edges["worse"].astype(np.int64)] & ~is_removed[edges["better"].astype(np.int64)]]
    # Of the surviving duplicates: one of the same words before one of the same meaning, the most similar, the best.
    edges = edges[np.lexsort([edges["better"], -edges["score"], edges["kind"], edges["worse"]])]
    edges = edges[np.flatnonzero(np.append(True, edges["worse"][1:] != edges["worse"][:-1])[: len(edges)])]
    table = np.zeros(len(edges) + len(copies), TABLE)
    near, same = table[len(copies) :], table[: len(copies)]
    near["document"], near["survivor"], near["rank"] = edges["worse_document"], edges["better_document"], edges["worse"]
    near["score"], near["bands"], near["copy_of"], near["reason"] = edges["score"], edges["bits"], NONE, edges["kind"]
    # A copy whose best copy goes as a near duplicate has that one's survivor: the texts are the same.
    same["rank"], same["document"], same["survivor"], same["copy_of"] = copies[:, [0, 2, 3, 3]].T
    same["score"], same["reason"] = 1.0, EXACT
    gone = np.flatnonzero(is_removed[copies[:, 1].astype(np.int64)])
    at = np.searchsorted(edges["worse"], copies[gone, 1])
    for name in ("survivor", "score", "bands"):
        same[name][gone] = near[name][at]
    return table


@dataclass(frozen=True)
class Removal:
    """One removed document, as the ledger shows it."""

    reason: str
    score: float
    evidence: str


def removals(table: npt.NDArray[Any], parts: Parts, config: DedupConfig) -> list[Removal]:
    """What the ledger says of each removal of TABLE: the document that stays, and what was found."""
    copies = np.where(table["copy_of"] == NONE, table["survivor"], table["copy_of"])
    twins = parts.values(copies, "id").astype(">u8").tobytes().hex()
    found = []
    for i, (row, (doc_id, source, origin)) in enumerate(zip(table.tolist(), parts.names(table["survivor"]))):
        _, survivor, score, bands, copy_of, reason, _ = row
        fields: dict[str, Any] = {"survivor": doc_id, "survivor_source": source, "survivor_origin": origin}
        if survivor < parts.num_indexed:
            fields["survivor_is_earlier"] = True
        if reason == NEAR:
            fields["bands"] = [b for b in range(bands.bit_length()) if bands >> b & 1]
            fields["measure"] = config.verify
        elif reason == SEMANTIC:
            fields["measure"] = "cosine"
        elif copy_of != survivor:
            fields["same_text_as"] = twins[32 * i : 32 * i + 32]
        found.append(Removal(REASONS[reason], score, evidence(**fields)))
    return found
