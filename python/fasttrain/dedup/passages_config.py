"""Which repeated passages are cut out of documents, and where they are looked for."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings
from fasttrain.dedup.config import DedupConfig

BYTES_PER_BYTE = 64
"""Memory of the suffix sort for each byte of candidate text, at the most: text, suffix array, common prefixes, 18 bytes
together, then flags and the 64-bit places of what repeats."""

RULES = ("lines", "paragraphs", "substring", "fuzzy", "spans")
"""In the order of their numbers."""
LINE, PARAGRAPH, SUBSTRING, FUZZY, SPAN = range(len(RULES))
CUT = 7
"""Words of a cut: document, begin, end, surviving document (itself when none is), where there, rule, and the similarity
as a float64."""


class FuzzyPassages(Settings):
    """Paragraphs or lines that are nearly those of an earlier document. MinHash proposes, exact similarity decides."""

    unit: Literal["paragraph", "line"] = "paragraph"
    """What is compared."""
    min_words: int = Field(default=20, ge=1)
    """Shorter ones are left to the exact rules: one word is much of them, and a near copy may say something else."""
    ngram: int = Field(default=3, ge=1, le=64)
    """Words in a shingle (of text.shingle: numbers do not count). One changed word changes so many shingles of those
    that a paragraph has, hence fewer than a document's 5."""
    threshold: float = Field(default=0.8, gt=0, le=1)
    """Least exact similarity of the shingle sets at which the later of a proposed pair is cut."""
    verify: Literal["jaccard", "containment"] = "jaccard"
    """The similarity: Jaccard, or the share of the later one's shingles that the earlier one holds."""
    bands: int = Field(default=16, ge=1, le=64)
    """Bands of the signature: a pair is proposed when it agrees on every row of one band."""
    rows: int = Field(default=7, ge=1, le=64)
    """Rows of a band. A pair of Jaccard J is proposed with probability 1 - (1 - J^rows)^bands: 0.98 at the default
    threshold, and half at 0.64."""
    max_bucket: int = Field(default=64, ge=2)
    """Those of one band value that are compared all with all; in larger buckets each is compared with the earliest few
    only, and how many buckets that were is reported."""
    seed: int = Field(default=0, ge=0)
    """Of the hash functions."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min_words < self.ngram:
            raise ValueError(
                f"min_words must be at least ngram, got {self.min_words} and {self.ngram}: what is shorter has one "
                "shingle, and the exact rules find its copies"
            )
        return self

    def search(self, scope: str, memory_records: int) -> DedupConfig:
        """The same, as the search for near copies takes it (near_search.py)."""
        return DedupConfig(
            ngram=self.ngram, bands=self.bands, rows=self.rows, verify=self.verify, threshold=self.threshold,
            containment=self.threshold, max_bucket=self.max_bucket, seed=self.seed, memory_records=memory_records,
            scope="global" if scope == "global" else "source",
        )  # fmt: skip


class PassagesConfig(Settings):
    """Settings of the passages stage. Without a rule it hands its input on.

    Of two documents the earlier one is that of the source of higher priority, of one priority that of the smaller
    doc_id: what is cut does not depend on the order in which documents, files or sources come in.
    """

    priority: dict[str, int] = Field(default_factory=dict)
    """Source to priority; of two copies the one of the higher priority stays. Sources not named have 0. A recipe takes
    that of `dedup`, so that both stages prefer the same copies."""
    lines: bool = False
    """Cut lines that many documents of one scope share (menus, footers, notices)."""
    fold_digits: bool = False
    """Lines and paragraphs that differ in their digits only are the same (cc_net). It finds dated notices and counters,
    and takes the lines of tables, which are then the same in all documents, for boilerplate."""
    paragraphs: bool = False
    """Cut paragraphs (runs of lines that are not empty) that an earlier document of the scope holds."""
    spans: int = Field(default=0, ge=0, le=64)
    """Cut runs of so many sentences that stand earlier in the scope, also in the same document (C4: 3); 0: none."""
    span_of: Literal["sentence", "line"] = "sentence"
    """What a run of `spans` is made of. A sentence ends at a line's end, at . ? or ! (and closing quotes or brackets)
    before a space, and behind a full-width one. What has no words does not count."""
    fuzzy: FuzzyPassages | None = None
    """Cut paragraphs or lines that are nearly those of an earlier document of the scope; off without this table. This
    rule goes first: the others see the texts without what it cuts, so that the copies they keep do stay."""
    substring: bool = False
    """Cut byte strings of at least `min_bytes` or `min_tokens` that stand earlier (suffix array; exact)."""
    scope: Literal["domain", "source", "global"] = "domain"
    """Where lines and paragraphs are counted: the host of the origin (the source when that is no URL), the source, or
    all documents. A line is the same when its words are: case and punctuation do not count."""
    substring_scope: Literal["source", "global"] = "global"
    """Where repeated byte strings are looked for."""
    exempt: tuple[str, ...] = ()
    """Sources that take no part (code, whose lines repeat by nature)."""
    line_words: int = Field(default=3, ge=1)
    """Shorter lines stay."""
    line_documents: int = Field(default=10, ge=1)
    """A line is boilerplate when more documents of the scope than this hold it and ..."""
    line_fraction: float = Field(default=0.0, ge=0, lt=1)
    """... more than this share of the scope's documents."""
    keep_line: Literal["first", "none"] = "first"
    """Whether the earliest document that holds a boilerplate line keeps it."""
    paragraph_words: int = Field(default=20, ge=1)
    """Shorter paragraphs stay."""
    min_bytes: int = Field(default=400, ge=16)
    """Least length of a repeated byte string, in UTF-8 bytes."""
    min_tokens: int | None = Field(default=None, ge=9)
    """Least length of a repeated byte string in words, instead of `min_bytes`. There is no tokenizer yet when this
    stage runs, so a token is a word of text.shingle, as everywhere in this stage: letters and digits between spaces and
    punctuation; one character of a script without spaces. A string is measured by itself: what it holds of a word at
    either end counts. (Byte-level BPE makes 1.2 to 1.5 tokens of an English word.)"""
    whole_words: bool = True
    """Shrink each cut to begin and end at white space; else only to whole code points."""
    least_left_bytes: int = Field(default=100, ge=0)
    """An edited document that keeps fewer bytes than this is dropped."""
    least_left_share: float = Field(default=0.05, ge=0, lt=1)
    """An edited document that keeps a smaller share of its text is dropped: cuts may take 1 - least_left_share of a
    document. It is not left as it came instead, since all that was cut stands elsewhere, and what remains is a rest."""
    memory_records: int = Field(default=1 << 22, ge=16)
    """Records (24 to 40 bytes) that a rank sorts in memory at once. The result does not depend on it."""
    memory_bytes: int = Field(default=1 << 30, ge=1 << 16)
    """Memory of one suffix sort; what is more is partitioned on disk. The result does not depend on it. One string that
    repeats so often that its surroundings alone are more is still sorted at once."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.least_left_bytes == 0 and self.least_left_share == 0:
            raise ValueError("least_left_bytes and least_left_share must not both be 0: empty documents would stay")
        if self.min_tokens is not None and self.min_bytes != type(self).model_fields["min_bytes"].default:
            raise ValueError(
                f"min_bytes or min_tokens may be set, got both ({self.min_bytes} and {self.min_tokens}): a repeated "
                "string has one least length; leave one out"
            )
        return self

    @property
    def preference(self) -> DedupConfig:
        """The same order of preference, as policy_keys (rows.py) takes it."""
        return DedupConfig(priority=self.priority, order=("priority", "id"))

    @property
    def is_on(self) -> bool:
        """Whether any rule is."""
        return bool(self.rules)

    @property
    def rules(self) -> list[str]:
        """Names of the rules that are on."""
        on = {"lines": self.lines, "paragraphs": self.paragraphs, "substring": self.substring, "fuzzy": self.fuzzy,
              "spans": self.spans}  # fmt: skip
        return [name for name in RULES if on[name]]

    @property
    def least_bytes(self) -> int:
        """Bytes that a repeated string has at the least. T words have 2 T - 1: each has one byte and one between it and
        the next, or it is of a script without spaces and has three."""
        return self.min_bytes if self.min_tokens is None else 2 * self.min_tokens - 1

    @property
    def anchor(self) -> tuple[int, int]:
        """Bytes of an anchor and hashes of its window: any least_bytes hold one."""
        k = max(8, self.least_bytes // 4)
        return k, self.least_bytes - k + 1
