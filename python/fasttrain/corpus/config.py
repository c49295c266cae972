"""What a recipe says about its lake."""

from typing import Literal

from pydantic import Field, field_validator, model_validator

from fasttrain.core.config import Settings
from fasttrain.corpus.policy import PolicyConfig

Kind = Literal["auto", "warc", "jsonl", "parquet", "text", "code", "mail", "pdf", "wikitext"]


class SourceConfig(Settings):
    """One source: a mixture domain, where it lies and how it is read."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Name of the mixture domain; several entries may share one (their paths must not overlap)."""
    path: str | tuple[str, ...]
    """Folder, file or glob (`**` crosses folders), relative to the recipe, or a list of those; a file that several of
    them match is read once. `package:demo_lake/...` ships with us. `s3://`, `gs://`, `hdfs://` and `file://` go through
    pyarrow's file systems, with the credentials of the environment and options behind a `?`
    (`s3://bucket/a/*.jsonl.zst?region=eu-west-1`, `gs://anonymous@bucket/a`)."""
    kind: Kind = "auto"
    """Reader; `auto` goes by each file's extension and passes over what it does not know. A maildir needs "mail".
    PDF needs `pip install fasttrain[pdf]`, wikitext (MediaWiki dumps) `fasttrain[wiki]`; without them `auto` passes
    over such files and counts them."""
    licence: str = "unknown"
    """SPDX expression of the source; a record's own licence field or a source tree's licence file goes before it."""
    priority: int = 0
    """Survivor of a duplicate: the higher priority stays."""
    text_field: str = "text"
    """JSONL, Parquet: the field that holds the text; `a.b` reaches into objects."""
    id_field: str | None = None
    """JSONL, Parquet: names the record in its origin (path#id); its number in the file does otherwise."""
    url_field: str | None = None
    """JSONL, Parquet: the field that holds the URL, which is then the origin."""
    licence_field: str | None = None
    """JSONL, Parquet: the field that holds the record's licence."""
    language_field: str | None = None
    """JSONL, Parquet: the field that holds the record's language."""
    timestamp_field: str | None = None
    """JSONL, Parquet: ISO 8601 text, or seconds since 1970."""
    language: str = ""
    """ISO 639 code of every document, when known beforehand; empty leaves it to the filter stage."""
    namespaces: tuple[int, ...] = Field(default=(0,), min_length=1)
    """Wikitext: pages of these namespaces are read; 0 holds the articles."""
    encoding: str = "utf-8"
    """Character encoding of text files, JSONL and sources; HTML says its own."""
    include: tuple[str, ...] = ()
    """Only files whose relative path matches one of these globs (`*` crosses folders)."""
    exclude: tuple[str, ...] = ()
    """Not those whose relative path matches one of these."""

    @field_validator("path")
    @classmethod
    def _names_something(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        if not value or not all([value] if isinstance(value, str) else value):
            raise ValueError("must be a path or a list of paths, none of them empty")
        return value

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError("must be a character encoding that Python knows, such as utf-8 or latin-1") from None
        return value

    @property
    def paths(self) -> tuple[str, ...]:
        """The path, or all that are listed."""
        return (self.path,) if isinstance(self.path, str) else self.path


class CorpusConfig(Settings):
    """The lake: its sources, and the limits that keep bad input from harming a run."""

    sources: tuple[SourceConfig, ...] = Field(min_length=1)
    """Where the text comes from, in order."""
    policy: PolicyConfig = PolicyConfig()
    """Which licences and sources may be used; everything may when it says nothing."""
    removals: str = "removals.jsonl"
    """List of documents that must not be read, written by `audit forget --apply`, relative to the recipe; it may be
    missing. The run folder's own list (removals/list.jsonl) counts as well."""
    max_document_bytes: int = Field(default=50_000_000, ge=1)
    """Longer records are quarantined without ever being held in memory."""
    max_invalid_fraction: float = Field(default=0.01, ge=0, le=1)
    """Undecodable characters are replaced (and counted) up to this share of a text; beyond it, quarantine."""
    part_bytes: int = Field(default=32_000_000, ge=1)
    """Bytes of input in one part (compressed files count fourfold). A larger file is a part of its own; one of more
    than twice as many is cut between records every so many decoded bytes, in pieces that ranks read side by side."""
    extraction_timeout_s: float = Field(default=30.0, gt=0)
    """One HTML page, PDF or page of a wiki may take so long, then it is quarantined: the only limit that depends on
    the machine's speed."""

    @model_validator(mode="after")
    def _policy_names_sources(self) -> "CorpusConfig":
        known = {source.name for source in self.sources}
        for stated in self.policy.sources:
            if stated.source not in known:
                raise ValueError(
                    f"policy.sources: there is no source {stated.source!r}; there are {', '.join(sorted(known))}"
                )
        return self
