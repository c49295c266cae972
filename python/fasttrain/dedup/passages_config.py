"""Which repeated passages are cut out of documents, and where they are looked for."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings

BYTES_PER_BYTE = 64
"""Memory of the suffix sort for each byte of candidate text, at the most: text, suffix array, common prefixes, 18 bytes
together, then flags and the 64-bit places of what repeats."""


class PassagesConfig(Settings):
    """Settings of the passages stage. Without a rule it hands its input on."""

    lines: bool = False
    """Cut lines that many documents of one scope share (menus, footers, notices)."""
    fold_digits: bool = False
    """Lines and paragraphs that differ in their digits only are the same (cc_net). It finds dated notices and counters,
    and takes the lines of tables, which are then the same in all documents, for boilerplate."""
    paragraphs: bool = False
    """Cut paragraphs (runs of lines that are not empty) that an earlier document of the scope holds."""
    substring: bool = False
    """Cut byte strings of at least `min_bytes` that stand earlier in the corpus (suffix array; exact)."""
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
    """Whether the first document that holds a boilerplate line keeps it."""
    paragraph_words: int = Field(default=20, ge=1)
    """Shorter paragraphs stay."""
    min_bytes: int = Field(default=400, ge=16)
    """Least length of a repeated byte string, UTF-8 bytes; there is no tokenizer yet when this stage runs."""
    whole_words: bool = True
    """Shrink each cut to begin and end at white space; else only to whole code points."""
    least_left_bytes: int = Field(default=100, ge=0)
    """An edited document that keeps fewer bytes than this is dropped."""
    least_left_share: float = Field(default=0.05, ge=0, lt=1)
    """An edited document that keeps a smaller share of its text is dropped."""
    memory_records: int = Field(default=1 << 22, ge=16)
    """Records (24 to 40 bytes) that a rank sorts in memory at once. The result does not depend on it."""
    memory_bytes: int = Field(default=1 << 30, ge=1 << 16)
    """Memory of one suffix sort; what is more is partitioned on disk. The result does not depend on it. One string that
    repeats so often that its surroundings alone are more is still sorted at once."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.least_left_bytes == 0 and self.least_left_share == 0:
            raise ValueError("least_left_bytes and least_left_share must not both be 0: empty documents would stay")
        return self

    @property
    def is_on(self) -> bool:
        """Whether any rule is."""
        return self.lines or self.paragraphs or self.substring

    @property
    def anchor(self) -> tuple[int, int]:
        """Bytes of an anchor and hashes of its window: any min_bytes hold one."""
        k = max(8, self.min_bytes // 4)
        return k, self.min_bytes - k + 1
