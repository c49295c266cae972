"""Benchmark items as normalised words, and the one index of n-grams by which all of them are found.

What is looked for (`Field`): the text of each field that has a role. One of fewer than `ngram` words (an answer "42")
would be found everywhere and is not looked for by itself; a question that short is, together with its answer, as one
text. What is left without any text is counted and listed as not searched, neither clean nor dirty.

What an n-gram weighs: its inverse document frequency, scaled so that one which a single item and a single document hold
weighs 1 and one that more than `max_items` items or more than `max_documents` documents hold weighs 0:

    weight(g) = (1 - log(items that hold g) / log(max_items + 1))
              (1 - log(documents that hold g) / log(max_documents + 1))

The first factor takes out templates (a header, imports), the second boilerplate and famous phrases. An n-gram in which
fewer than half of the words are different words with a letter weighs 0: on a real lake HumanEval's lists of numbers
("0 0 0 0 0 0 0 0 0 0 a b c": numbers are normalised to 0) flagged 39 of 40 documents without that, and rightly only
one. The documents are only known after a pass over the corpus: `Benchmarks.weights` holds the first factor.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field as Limits
from pydantic import model_validator

from fasttrain.core.config import Settings
from fasttrain.decontam import registry
from fasttrain.decontam.ngram_overlap import NgramIndex
from fasttrain.decontam.registry import HUMANEVAL, BenchmarkConfig, Listed, Role
from fasttrain.text import columns, shingle_ref
from fasttrain.text.shingle import shingle

# benchmark, row of the item, item, field, role, normalised words, words with their digits
_Text = tuple[str, int, str, str, Role, tuple[str, ...], tuple[str, ...]]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class DecontamConfig(Settings):
    """Which benchmarks must not be trained on, and how they are found."""

    benchmarks: tuple[BenchmarkConfig, ...] = (HUMANEVAL,)
    """Their files."""
    registry: str | None = None
    """A TOML file of more `[[benchmarks]]`, whose paths are relative to it."""
    ngram: int = Limits(default=8, ge=2, le=64)
    """Words in a row by which an item is looked for; a text of fewer is never looked for alone."""
    min_words: int = Limits(default=13, ge=2)
    """Words of an item that a document must hold (GPT-3, arXiv:2005.14165, appendix C); an item of fewer is found
    whole, word for word between word boundaries, or not at all."""
    min_share: float = Limits(default=0.4, gt=0, le=1)
    """Part of an item's words, by weight, that a document must hold ..."""
    enough_words: int = Limits(default=50, ge=2)
    """... or so many words of a long item, by weight, however small a part of it they are."""
    max_gap: int = Limits(default=32, ge=0)
    """Other words that may lie between two parts of an item in a document."""
    max_items: int = Limits(default=5, ge=1)
    """An n-gram that more items than this share is a template and weighs nothing."""
    max_documents: int = Limits(default=50, ge=1)
    """An n-gram that more documents than this hold is boilerplate (a licence, a quotation) and weighs nothing."""
    passage_alone: bool = False
    """Whether a passage counts that is found without its question; reading tests take theirs from encyclopedias."""
    action: Literal["drop", "cut", "flag"] = "drop"
    """A document that holds an item is dropped, loses the words it shares, or stays and says so in its `meta`."""
    least_left_bytes: int = Limits(default=100, ge=1)
    """A document of which less is left after a cut is dropped."""

    @model_validator(mode="after")
    def _check(self) -> "DecontamConfig":
        if self.ngram > self.min_words:
            raise ValueError(f"ngram must be at most min_words = {self.min_words}, got {self.ngram}")
        names = [b.name for b in self.benchmarks]
        if len(set(names)) != len(names):
            raise ValueError(f"benchmarks must have different names, got {names}")
        return self


@dataclass(frozen=True)
class Field:
    """One text of one item that is looked for."""

    benchmark: str
    row: int  # of the item in its file
    item: str
    name: str
    role: Role
    words: tuple[str, ...]  # normalised (text.shingle_ref), `ngram` or more
    exact: tuple[str, ...]  # with their digits (exact_words)
    grams: Ints  # (len(words) - n + 1,) place of each n-gram in the index; -1: it weighs nothing


@dataclass(frozen=True)
class Benchmarks:
    """Every field that is looked for, and the index of their n-grams."""

    listed: tuple[Listed, ...]
    fields: tuple[Field, ...]
    index: NgramIndex
    weights: Floats  # (K,) by the items that share an n-gram, before the documents are known
    starts: Ints  # (K+1,) n-gram g is found in the places [starts[g], starts[g+1]) of:
    at_field: Ints  # place in `fields`
    at_word: Ints  # number of the n-gram's first word in it
    items: Counter[str]  # by benchmark
    too_short: Counter[str]  # fields that are not looked for alone, by benchmark
    templates: Counter[str]  # n-grams that too many items share, by benchmark
    silent: Counter[str]  # fields of which no n-gram weighs anything, by benchmark: they cannot be found


def fingerprints(config: DecontamConfig, base: Path) -> list[list[str]]:
    """Name, sha256 and settings of every benchmark. Raises ConfigError: a file is missing."""
    listed = registry.find_files(config.benchmarks, config.registry, base)
    return [[one.config.name, one.sha256, one.config.fingerprint()] for one in listed]


def load(config: DecontamConfig, base: Path) -> Benchmarks:
    """Read every benchmark and index its n-grams. Raises ConfigError: a file is missing, damaged or lacks a field."""
    listed = registry.find_files(config.benchmarks, config.registry, base)
    texts: list[_Text] = []
    items: Counter[str] = Counter()
    too_short: Counter[str] = Counter()
    for one in listed:
        name = one.config.name
        for row in registry.rows(one):
            items[name] += 1
            for field, role, words, exact in _looked_for(one.config, row, config.ngram):
                if len(words) >= config.ngram:
                    texts.append((name, row.number, row.name, field, role, tuple(words), tuple(exact)))
                elif words:
                    too_short[name] += 1
    return _index(config, listed, texts, items, too_short)


def exact_words(text: str) -> tuple[list[str], list[str], list[tuple[int, int]]]:
    """Normalised words; the same with their digits behind them; where each lies in the text, in code points.

    All numbers are one in the n-grams. A problem with other numbers in it is another problem, so that what the index
    found is compared with the digits.
    """
    words, spans = shingle_ref.words_and_spans(text)
    exact = [f"{word} {_digits(text[a:b])}" if "0" in word else word for word, (a, b) in zip(words, spans)]
    return words, exact, spans


def _digits(raw: str) -> str:
    return "".join(str(unicodedata.decimal(c)) for c in raw if c.isdecimal())


def _looked_for(
    benchmark: BenchmarkConfig, row: registry.Row, ngram: int
) -> Iterator[tuple[str, Role, list[str], list[str]]]:
    """Field, role, words, and words with their digits; a short question also with each answer, as one text."""
    for field, role in benchmark.fields.items():
        words, exact, _ = exact_words(row.texts[field])
        yield field, role, words, exact
        if role == "question" and 0 < len(words) < ngram:
            for other, kind in benchmark.fields.items():
                if kind == "answer" and row.texts[other]:
                    more, exact, _ = exact_words(f"{row.texts[field]}\n{row.texts[other]}")
                    yield f"{field}+{other}", "question", more, exact


def _index(
    config: DecontamConfig,
    listed: tuple[Listed, ...],
    texts: list[_Text],
    items: Counter[str],
    too_short: Counter[str],
) -> Benchmarks:
    n = config.ngram
    # The n-grams of normalised words joined by spaces are those of the text: normalising again changes nothing.
    hashes, offsets = shingle(columns.from_texts(" ".join(words) for *_, words, _ in texts), n=n)
    at_field = np.repeat(np.arange(len(texts)), np.diff(offsets))
    at_word = np.arange(len(hashes)) - offsets[at_field]
    keys, place = np.unique(hashes, return_inverse=True)
    place = place.reshape(-1)
    item_of = {key: i for i, key in enumerate(dict.fromkeys((t[0], t[1]) for t in texts))}
    item = np.array([item_of[t[0], t[1]] for t in texts], np.int64)[at_field]
    sharers = np.bincount(np.unique(np.stack([place, item]), axis=1)[0], minlength=len(keys))
    weights = np.maximum(0.0, 1 - np.log(np.maximum(sharers, 1)) / np.log(config.max_items + 1))
    telling = np.array([_tells(t[5], k, n, config.min_words) for t in texts for k in range(len(t[5]) - n + 1)], bool)
    speaks = np.zeros(len(keys), bool)
    speaks[place[telling]] = True
    names = np.array([t[0] for t in texts], object)
    templates: Counter[str] = Counter()
    is_template = sharers > config.max_items
    templates.update(name for name, _ in {(names[f], p) for f, p in zip(at_field[is_template[place]],
                                                                       place[is_template[place]])})  # fmt: skip
    weights[is_template | ~speaks] = 0
    kept = weights > 0
    number = np.where(kept, np.cumsum(kept) - 1, -1)
    use = np.flatnonzero(kept[place])
    use = use[np.argsort(place[use], kind="stable")]
    grams = number[place]
    fields = tuple(Field(*t, grams=grams[offsets[i] : offsets[i + 1]]) for i, t in enumerate(texts))
    return Benchmarks(
        listed=listed,
        fields=fields,
        index=NgramIndex.build(keys[kept], n),
        weights=weights[kept],
        starts=np.searchsorted(grams[use], np.arange(kept.sum() + 1)).astype(np.int64),
        at_field=at_field[use],
        at_word=at_word[use],
        items=items,
        too_short=too_short,
        templates=templates,
        silent=Counter(f.benchmark for f in fields if (f.grams < 0).all()),
    )


def _tells(words: tuple[str, ...], k: int, n: int, whole: int) -> bool:
    """Whether half of an n-gram's words are different ones with a letter; a short text is found, so judged, whole."""
    window = words if len(words) < whole else words[k : k + n]
    return 2 * len({word for word in window if any(c.isalpha() for c in word)}) >= len(window)


def weigh(benchmarks: Benchmarks, documents: Ints, max_documents: int) -> Floats:
    """(K,) what each n-gram weighs, when so many documents hold it."""
    rarity = 1 - np.log(np.maximum(documents, 1)) / np.log(max_documents + 1)
    return np.asarray(benchmarks.weights * np.maximum(0.0, rarity))
