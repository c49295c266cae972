"""What is a duplicate, and which copy stays."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings

Criterion = Literal["priority", "quality", "length", "newest", "oldest", "id"]


class SemanticConfig(Settings):
    """Duplicates in meaning, by embeddings that the user brings (SemDeDup)."""

    embeddings: str
    """Parquet file, folder or glob that holds the embeddings."""
    key: Literal["doc_id", "origin"] = "origin"
    """What names the document in `key_column`: its doc_id (hex or 16 bytes), or its origin (URL, path#record)."""
    key_column: str = "id"
    """Column of the keys. Rows without a document are counted and left aside, documents without a row stay."""
    column: str = "embedding"
    """Column of the vectors: list<float> or fixed_size_list<float>, all of one length."""
    clusters: int = Field(default=0, ge=0)
    """Clusters of the k-means; 0: the square root of the number of documents that have an embedding."""
    iterations: int = Field(default=10, ge=1)
    """Rounds of the k-means over its sample."""
    sample: int = Field(default=64, ge=1)
    """Documents of the k-means sample for each cluster."""
    eps: float = Field(default=0.05, gt=0, lt=1)
    """A pair is a duplicate when the cosine of its embeddings is at least 1 - eps."""
    max_neighbours: int = Field(default=32, ge=1)
    """Best duplicates of a document that are considered as its survivor; what is left out is counted."""


class DedupConfig(Settings):
    """Settings of the dedup stage."""

    exact: bool = True
    """Remove documents whose text is the same, byte for byte."""
    fuzzy: bool = True
    """Remove documents that share most of their word n-grams with one that stays."""
    semantic: SemanticConfig | None = None
    """Remove documents whose embedding is close to that of one that stays."""
    ngram: int = Field(default=5, ge=1, le=64)
    """Words in a shingle."""
    bands: int = Field(default=14, ge=1, le=64)
    """Bands of the signature: a pair is proposed when it agrees on every row of one band. FineWeb: 14."""
    rows: int = Field(default=8, ge=1, le=64)
    """Rows of a band. FineWeb: 8. A pair of similarity J is proposed with probability 1 - (1 - J^rows)^bands."""
    verify: Literal["jaccard", "containment"] = "jaccard"
    """What a proposed pair must reach before anything is removed: the Jaccard of its shingle sets, or the share of the
    removed document's shingles that the survivor holds. Both are exact."""
    threshold: float = Field(default=0.7, gt=0, le=1)
    """Least exact Jaccard of the shingle sets for which a proposed pair is a duplicate. The default lies where the
    default banding finds half of the pairs (0.69): a lower one would promise what banding does not find, a higher one
    would keep what the banding alone (as FineWeb used it) removes."""
    containment: float = Field(default=0.9, gt=0, le=1)
    """The threshold of `verify = "containment"`. Banding still proposes by Jaccard: a short excerpt of a long document
    is hardly ever proposed."""
    min_words: int = Field(default=5, ge=1)
    """Shorter documents are compared exactly only: folded digits make "page 1" and "page 2" one shingle."""
    scope: Literal["global", "source", "dump"] = "global"
    """Whether copies are looked for in the whole corpus, inside each source, or inside each dump (`dump_key`)."""
    dump_key: str = ""
    """Names a document's dump: "meta:KEY" takes that key of its meta, "origin:REGEX" the first group (or all) of the
    first match in its origin. Documents without one form a dump of their own."""
    priority: dict[str, int] = Field(default_factory=dict)
    """Source to priority; of two copies the one of the higher priority stays. Sources not named have 0."""
    order: tuple[Criterion, ...] = ("priority", "quality", "length", "id")
    """What decides which copy stays, first criterion first: higher priority, higher quality, longer
    text, newest or oldest timestamp (none: last), smaller doc_id."""
    quality_key: str = ""
    """Key of the documents' `meta` that holds the quality, a number (absent: 0); empty: quality does not count."""
    against: tuple[str, ...] = ()
    """Indexes of earlier corpora (`index_out`): their documents take part, always stay, and are not emitted again."""
    index_out: bool = False
    """Write an index of the documents kept to `index/` in the stage's folder: 250 bytes a document, its origin, and 8
    bytes for each distinct shingle."""
    max_bucket: int = Field(default=64, ge=2)
    """Documents of one band value that are compared all with all. In larger buckets (boilerplate, templates) each
    document is compared with the best `BEST_OF_BUCKET` only; how many buckets that were is reported."""
    memory_records: int = Field(default=1 << 22, ge=16)
    """Records (16 to 64 bytes) that a rank sorts in memory at once; what is more is partitioned on disk. The result
    does not depend on it."""
    alarm_fraction: float = Field(default=0.5, gt=0, le=1)
    """A source that loses more than this share of its documents is reported as an alarm."""
    seed: int = Field(default=0, ge=0)
    """Of the hash functions."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.order)) != len(self.order):
            raise ValueError(f"order must name each criterion once, got {list(self.order)}")
        if "quality" in self.order and not self.quality_key and self.order[0] == "quality":
            raise ValueError("order begins with quality, so quality_key must name a key of the documents' meta")
        if (self.scope == "dump") != bool(self.dump_key):
            raise ValueError('scope = "dump" and dump_key go together: dump_key names the dump of a document')
        if self.dump_key:
            kind, _, rest = self.dump_key.partition(":")
            if kind not in ("meta", "origin") or not rest:
                raise ValueError(f'dump_key must read "meta:KEY" or "origin:REGEX", got {self.dump_key!r}')
            if kind == "origin":
                try:
                    re.compile(rest)
                except re.error as error:
                    raise ValueError(f"dump_key: {rest!r} is no regular expression: {error}") from None
        return self

    @property
    def least(self) -> float:
        """The threshold of the measure that verifies."""
        return self.threshold if self.verify == "jaccard" else self.containment


BEST_OF_BUCKET = 4
"""Documents that the others of an oversized bucket are compared with: one alone may itself be a stray."""
LEAST_PARTITION = 16384
"""Documents from which on a phase is cut further than memory asks for, so that every rank has work."""


def num_partitions(documents: int, memory_records: int) -> int:
    """Partitions of the phases that sort: as many as memory asks for, or a few for the ranks to share."""
    return max(1, -(-documents // memory_records), min(8, -(-documents // LEAST_PARTITION)))


def detection(jaccard: float, config: DedupConfig) -> float:
    """Probability that banding proposes a pair of this similarity."""
    return float(1 - (1 - jaccard**config.rows) ** config.bands)
