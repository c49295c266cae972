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


def removal(row: Any, parts: Parts, config: DedupConfig) -> Removal:
    """What the ledger says of a removal: the document that stays, and what was found."""
    doc_id, source, origin = parts.name(int(row["survivor"]))
    fields: dict[str, Any] = {"survivor": doc_id, "survivor_source": source, "survivor_origin": origin}
    if row["survivor"] < parts.num_indexed:
        fields["survivor_is_earlier"] = True
    if row["reason"] == NEAR:
        mask = int(row["bands"])
        fields["bands"] = [b for b in range(mask.bit_length()) if mask >> b & 1]
        fields["measure"] = config.verify
    elif row["reason"] == SEMANTIC:
        fields["measure"] = "cosine"
    elif row["copy_of"] != row["survivor"]:
        fields["same_text_as"] = parts.name(int(row["copy_of"]))[0]
    return Removal(REASONS[row["reason"]], float(row["score"]), evidence(**fields))
