"""Benchmark files: their items as texts, and the n-grams by which they are found.

An item's text of at least `ngram` words is found by its n-grams of `ngram` words. One of `short_ngram` words or more is
found by all of its n-grams of `short_ngram` words in a row, which is the whole of it. A shorter one (an answer "42")
would be found everywhere and is never looked for; it is counted. Left out are n-grams that say nothing about one item:
those that more than `max_items` items share (templates, imports), and those in which fewer than half of the words are
different words with a letter. On a real lake HumanEval's lists of numbers ("0 0 0 0 0 0 0 0 0 0 a b c": numbers are
normalised to 0) flagged 39 of 40 documents without the second rule, and rightly only one.
"""

import gzip
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import zstandard
from pydantic import Field, model_validator

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.decontam.ngram_overlap import NgramIndex
from fasttrain.formats import atomic, package_path
from fasttrain.text import columns, shingle_ref
from fasttrain.text.shingle import shingle


class BenchmarkConfig(Settings):
    """One benchmark: a JSON Lines file, plain, .gz or .zst."""

    name: str = Field(min_length=1)
    """How the ledger and the report call it."""
    path: str = Field(min_length=1)
    """The file, relative to the recipe; `package:benchmarks/...` ships with us."""
    fields: tuple[str, ...] = Field(min_length=1)
    """Fields whose text must not be trained on; each is matched on its own."""
    id_field: str | None = None
    """Names an item; its line number does otherwise."""


HUMANEVAL = BenchmarkConfig(
    name="HumanEval",
    path="package:benchmarks/HumanEval.jsonl.gz",
    fields=("prompt", "canonical_solution"),
    id_field="task_id",
)


class DecontamConfig(Settings):
    """Which benchmarks must not be trained on, and how they are found."""

    benchmarks: tuple[BenchmarkConfig, ...] = (HUMANEVAL,)
    """Their files."""
    ngram: int = Field(default=13, ge=2, le=64)
    """Words that a document and an item must share in a row (GPT-3, arXiv:2005.14165, appendix C)."""
    short_ngram: int = Field(default=8, ge=2, le=64)
    """Items of at least so many words, but fewer than `ngram`, are found as a whole; shorter ones never."""
    min_ngrams: int = Field(default=1, ge=1)
    """N-grams of one item that a document must hold."""
    max_items: int = Field(default=5, ge=1)
    """An n-gram that more items than this share is a template and is left out."""
    max_documents: int = Field(default=50, ge=1)
    """An n-gram that more documents than this hold is boilerplate (a licence, a quotation) and does not count."""
    action: Literal["drop", "flag"] = "drop"
    """What happens to a document that holds an item: it goes, or it stays and the ledger says so."""

    @model_validator(mode="after")
    def _check(self) -> "DecontamConfig":
        if self.short_ngram > self.ngram:
            raise ValueError(f"short_ngram must be at most ngram = {self.ngram}, got {self.short_ngram}")
        names = [b.name for b in self.benchmarks]
        if len(set(names)) != len(names):
            raise ValueError(f"benchmarks must have different names, got {names}")
        return self


@dataclass(frozen=True)
class Item:
    """One field of one item."""

    benchmark: str
    name: str
    field: str
    words: tuple[str, ...]  # normalised (text.shingle_ref)

    @property
    def key(self) -> tuple[str, str]:
        """Which item of which benchmark it belongs to."""
        return self.benchmark, self.name


@dataclass(frozen=True)
class Table:
    """Items that are found by n-grams of one length."""

    index: NgramIndex
    places: dict[int, tuple[tuple[int, int], ...]]  # place in index.keys -> (item, number of the n-gram's first word)


@dataclass(frozen=True)
class Benchmarks:
    """Every item, and the tables by which it is found: `long` by single n-grams, `short` as a whole."""

    items: tuple[Item, ...]
    long: Table
    short: Table
    too_short: Counter[str]  # fields that are never looked for, by benchmark
    templates: Counter[str]  # n-grams left out because many items share them, by benchmark
    silent: Counter[str]  # fields of which no n-gram is left, by benchmark: they cannot be found


def fingerprints(config: DecontamConfig, base: Path) -> list[list[str]]:
    """Name and sha256 of every benchmark file. Raises ConfigError: a file is missing."""
    found = []
    for number, benchmark in enumerate(config.benchmarks):
        path = package_path.resolve(benchmark.path, base)
        if not path.is_file():
            raise ConfigError(
                f"decontam.benchmarks.{number}.path: {benchmark.name}: no such file: {path}; correct the path"
            )
        found.append([benchmark.name, atomic.sha256(path)])
    return found


def load(config: DecontamConfig, base: Path) -> Benchmarks:
    """Read every benchmark and index its n-grams.

    Raises: ConfigError: a file is missing, is not JSON Lines, or lacks a named field: an item that is silently left out
    would count as clean.
    """
    fingerprints(config, base)
    items: list[Item] = []
    too_short: Counter[str] = Counter()
    for number, benchmark in enumerate(config.benchmarks):
        where = f"decontam.benchmarks.{number}"
        for name, field, text in _read(benchmark, package_path.resolve(benchmark.path, base), where):
            words = tuple(shingle_ref.words(text.encode("utf-8", "surrogatepass")))
            if len(words) < config.short_ngram:
                too_short[benchmark.name] += 1
            else:
                items.append(Item(benchmark.name, name, field, words))
    templates: Counter[str] = Counter()
    is_long = [len(item.words) >= config.ngram for item in items]
    long = _table(items, is_long, config.ngram, config.max_items, templates)
    is_short = [not flag for flag in is_long]
    short = _table(items, is_short, config.short_ngram, len(items) + 1, templates, short=config.ngram - 1)
    heard = {i for table in (long, short) for uses in table.places.values() for i, _ in uses}
    silent = Counter(item.benchmark for i, item in enumerate(items) if i not in heard)
    return Benchmarks(tuple(items), long, short, too_short, templates, silent)


def _table(
    items: list[Item], wanted: list[bool], n: int, max_items: int, templates: Counter[str], *, short: int = 0
) -> Table:
    """`short`: an item of at most so many words is judged as a whole."""
    chosen = [i for i, flag in enumerate(wanted) if flag]
    # The n-grams of normalised words joined by spaces are those of the text: normalising again changes nothing.
    hashes, offsets = shingle(columns.from_texts(" ".join(items[i].words) for i in chosen), n=n)
    places: dict[int, list[tuple[int, int]]] = {}
    for row, i in enumerate(chosen):
        words = items[i].words
        for k, h in enumerate(hashes[offsets[row] : offsets[row + 1]].tolist()):
            window = words if len(words) <= short else words[k : k + n]  # a short item is found whole, so judged whole
            telling = {word for word in window if any(c.isalpha() for c in word)}
            if 2 * len(telling) >= len(window):
                places.setdefault(h, []).append((i, k))
    for h in [h for h, uses in places.items() if len({items[i].key for i, _ in uses}) > max_items]:
        for benchmark in {items[i].benchmark for i, _ in places[h]}:
            templates[benchmark] += 1
        del places[h]
    index = NgramIndex.build(np.array(sorted(places), np.uint64), n)
    return Table(index, {k: tuple(places[int(key)]) for k, key in enumerate(index.keys)})


def _read(benchmark: BenchmarkConfig, path: Path, where: str) -> Iterator[tuple[str, str, str]]:
    """(item, field, text) of a file."""
    for number, line in enumerate(_lines(path)):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise ConfigError(f"{where}.path: {path}: line {number + 1} is not a JSON object; give a JSON Lines file")
        needed = (*benchmark.fields, *([benchmark.id_field] if benchmark.id_field else []))
        missing = [name for name in needed if name not in row]
        if missing:
            known = ", ".join(sorted(row))
            raise ConfigError(f"{where}.fields: {path}: line {number + 1} has no field {missing[0]!r}; it has {known}")
        name = str(row[benchmark.id_field]) if benchmark.id_field else str(number)
        for field in benchmark.fields:
            yield name, field, str(row[field])


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open("rb") as raw, _decompressed(path, raw) as plain, io.TextIOWrapper(plain, "utf-8") as text:
            yield from text
    except (OSError, EOFError, zstandard.ZstdError, UnicodeDecodeError) as error:
        raise ConfigError(f"decontam: benchmark file {path}: cannot be read: {error}") from error


def _decompressed(path: Path, raw: IO[bytes]) -> IO[bytes]:
    if path.suffix == ".gz":
        return gzip.GzipFile(fileobj=raw)  # type: ignore[return-value]
    if path.suffix == ".zst":
        return zstandard.ZstdDecompressor().stream_reader(raw)
    return raw
