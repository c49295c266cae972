"""What is a duplicate, and which copy stays."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings

Criterion = Literal["priority", "quality", "length", "id"]


class DedupConfig(Settings):
    """Settings of the dedup stage."""

    exact: bool = True
    """Remove documents whose text is the same, byte for byte."""
    fuzzy: bool = True
    """Remove documents that share most of their word n-grams with one that stays."""
    ngram: int = Field(default=5, ge=1, le=64)
    """Words in a shingle."""
    bands: int = Field(default=14, ge=1, le=64)
    """Bands of the signature: a pair is proposed when it agrees on every row of one band. FineWeb: 14."""
    rows: int = Field(default=8, ge=1, le=64)
    """Rows of a band. FineWeb: 8. A pair of similarity J is proposed with probability 1 - (1 - J^rows)^bands."""
    threshold: float = Field(default=0.7, gt=0, le=1)
    """Least exact Jaccard of the shingle sets for which a proposed pair is a duplicate. The default lies where the
    default banding finds half of the pairs (0.69): a lower one would promise what banding does not find, a higher one
    would keep what the banding alone (as FineWeb used it) removes."""
    min_words: int = Field(default=5, ge=1)
    """Shorter documents are compared exactly only: folded digits make "page 1" and "page 2" one shingle."""
    scope: Literal["global", "source"] = "global"
    """Whether copies are looked for in the whole corpus or inside each source."""
    priority: dict[str, int] = Field(default_factory=dict)
    """Source to priority; of two copies the one of the higher priority stays. Sources not named have 0."""
    order: tuple[Criterion, ...] = ("priority", "quality", "length", "id")
    """What decides which copy stays, first criterion first: higher priority, higher quality, longer
    text, smaller doc_id."""
    quality_key: str = ""
    """Key of the documents' `meta` that holds the quality, a number (absent: 0); empty: quality does not count."""
    max_bucket: int = Field(default=64, ge=2)
    """Documents of one band value that are compared all with all. In larger buckets (boilerplate, templates) each
    document is compared with the best `BEST_OF_BUCKET` only; how many buckets that were is reported."""
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
        return self


BEST_OF_BUCKET = 4
"""Documents that the others of an oversized bucket are compared with: one alone may itself be a stray."""


def detection(jaccard: float, config: DedupConfig) -> float:
    """Probability that banding proposes a pair of this similarity."""
    return float(1 - (1 - jaccard**config.rows) ** config.bands)
