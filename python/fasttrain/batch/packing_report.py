"""What a packing costs a source: padding, and documents that lose their beginning.

Ding et al. 2024 (arXiv:2404.10830): a token that is predicted without the beginning of its document is what harms; best
fit cuts only documents longer than a window, concat cuts at every T-th token.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from fasttrain.formats.shards import Shard

_SAMPLE = 1 << 20  # documents that are looked at: what a start reports must not cost more for a larger shard


@dataclass(frozen=True, kw_only=True)
class PackingReport:
    """One source under one packing."""

    sequences: int
    """In an epoch."""
    padding: float
    """Part of the places of all sequences that hold nothing."""
    documents_cut: float
    """Part of the documents that lie in more than one sequence."""
    tokens_cut_off: float
    """Part of the tokens that are read without the beginning of their document."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def report(shard: Shard, seq_len: int, packing: Literal["concat", "best_fit"], sequences: int) -> PackingReport:
    """Report on a source. Exact up to 2^20 documents; of larger ones as many, evenly spread, are looked at.

    Args: sequences: in an epoch, from `Order.num_sequences`.
    """
    step = max(-(-shard.num_docs // _SAMPLE), 1)
    starts = np.asarray(shard.offsets[:-1:step], np.int64)
    ends = np.asarray(shard.offsets[1::step], np.int64)
    lengths = ends - starts
    cut_off = _behind_edge(starts, ends, seq_len) if packing == "concat" else np.maximum(lengths - (seq_len + 1), 0)
    # A window of concat shares its last token with the next one's first; one of best_fit shares none.
    places = sequences * seq_len + 1 if packing == "concat" else sequences * (seq_len + 1)
    return PackingReport(
        sequences=sequences,
        padding=1.0 - shard.num_tokens / places if places else 0.0,
        documents_cut=float((cut_off > 0).mean()) if len(lengths) else 0.0,
        tokens_cut_off=float(cut_off.sum() / max(int(lengths.sum()), 1)),
    )


def _behind_edge(starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64], seq_len: int) -> npt.NDArray[np.int64]:
    """Tokens of each document behind the first edge of a window that lies within it."""
    behind: npt.NDArray[np.int64] = np.maximum(ends - (starts // seq_len + 1) * seq_len, 0)
    return behind
