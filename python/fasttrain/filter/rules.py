"""The published rules over the columns of text_stats: thresholds, reasons, and which documents fail which.

Nothing here looks at one document alone: a rule is a comparison of whole columns. Definitions: DEFINITIONS.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from fasttrain.core.config import Settings
from fasttrain.filter.line_edit_ref import C4_REASONS, REFINEDWEB_REASONS, C4Rules, RefinedWebRules
from fasttrain.filter.text_stats import COLUMN

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Mode = Literal["drop", "tag"]
Scores = Literal["broken", "all"]


@dataclass(frozen=True)
class Limit:
    """The values that pass a rule, and the axis that its histogram is drawn on."""

    low: float | None = None
    """Values under it fail; None: none do."""
    high: float | None = None
    """Values over it fail; None: none do."""
    top: float | None = None
    """The greatest value there can be (a share: 1), None for no bound."""
    log: bool = False
    """Whether the axis is logarithmic: for counts without a bound."""
    axis: float | None = None
    """Where the axis ends; None: at twice the limit, or above the upper one of two by half."""

    def fails(self, values: Values) -> npt.NDArray[np.bool_]:
        """(N,) Which values are outside."""
        broken = np.zeros(values.shape, np.bool_)
        if self.low is not None:
            broken |= values < self.low
        if self.high is not None:
            broken |= values > self.high
        return broken

    def distance(self, values: Values) -> Values:
        """(N,) How far each value is from the nearest limit."""
        ends = [np.abs(values - end) for end in (self.low, self.high) if end is not None]
        nearest: Values = np.minimum.reduce([np.full(values.shape, np.inf), *ends])
        return nearest

    def edges(self) -> Values:
        """Where the bins of the histogram begin; the last takes everything above."""
        return _edges(self)


@cache
def _edges(limit: Limit) -> Values:
    if limit.log:
        return np.concatenate([[0.0], 2.0 ** np.arange(0, 20.5, 0.5)])
    if limit.axis is not None:
        return np.linspace(0.0, limit.axis, 41)
    ends = [end for end in (limit.low, limit.high) if end is not None]
    span = 1.5 * max(ends) if len(ends) == 2 else 2.0 * max(ends, default=0.0)
    span = span or 10.0
    return np.linspace(0.0, span if limit.top is None else min(span, limit.top), 41)


@dataclass(frozen=True)
class Verdict:
    """What one family says of N documents; R rules."""

    reasons: tuple[str, ...]
    """Name of each rule, `family:rule`, in the order in which they are asked."""
    values: Values
    """(N, R) What was compared with the threshold."""
    fails: npt.NDArray[np.bool_]
    """(N, R) Whether the rule is broken."""
    limits: tuple[Limit | None, ...] = ()
    """What each rule compares with: histograms and samples beside the threshold; () or None where there is no such."""

    @property
    def passes(self) -> npt.NDArray[np.bool_]:
        """(N,) Whether no rule is broken."""
        return np.logical_not(self.fails.any(axis=1))


def joined(first: Verdict, second: Verdict) -> Verdict:
    """One verdict of two on the same documents; both have limits."""
    return Verdict(
        first.reasons + second.reasons,
        np.concatenate([first.values, second.values], axis=1),
        np.concatenate([first.fails, second.fails], axis=1),
        first.limits + second.limits,
    )


Rule = tuple[str, Values, Limit]
"""Name, what is compared, and with what."""


class RuleFamily(Settings):
    """What every family of rules has."""

    enabled: bool = True
    """Whether the family is asked at all."""
    mode: Mode = "drop"
    """drop: a document that breaks a rule goes. tag: it stays, its ledger row says which rules it broke, and its
    meta.scores hold what was compared: {"family:rule": value}."""
    scores: Scores = "broken"
    """In tag mode: broken: documents get the scores of the rules that they break; all: every document all of them."""


class GopherQualityConfig(RuleFamily):
    """Gopher's quality rules (Rae et al. 2021, A1.1)."""

    min_words: int = 50
    """Words that are not symbols alone, at least."""
    max_words: int = 100_000
    """... at most."""
    min_mean_word_chars: float = 3.0
    """Mean characters of these words, at least."""
    max_mean_word_chars: float = 10.0
    """... at most."""
    max_symbol_ratio: float = 0.1
    """"#" to words, and ellipses to words, at most each."""
    max_bullet_lines: float = 0.9
    """Share of lines that begin with a bullet or a hyphen, at most."""
    max_ellipsis_lines: float = 0.3
    """Share of lines that end in an ellipsis, at most."""
    min_alpha_words: float = 0.8
    """Share of words with a letter, at least."""
    min_stop_words: int = 2
    """Different ones of the, be, to, of, and, that, have, with, at least (English)."""

    def rules(self, s: Counts) -> Iterator[Rule]:
        """Each rule over (N, K) counts."""
        words = column(s, "text_words")
        yield "min_words", words, Limit(low=self.min_words, log=True)
        yield "max_words", words, Limit(high=self.max_words, log=True)
        mean = ratio(s, "text_word_chars", "text_words")
        yield "mean_word_chars", mean, Limit(low=self.min_mean_word_chars, high=self.max_mean_word_chars)
        for name in ("hashes", "ellipses"):
            yield name, ratio(s, name, "words"), Limit(high=self.max_symbol_ratio)
        yield "bullet_lines", ratio(s, "bullet_lines", "lines"), Limit(high=self.max_bullet_lines, top=1)
        yield "ellipsis_lines", ratio(s, "ellipsis_lines", "lines"), Limit(high=self.max_ellipsis_lines, top=1)
        yield "alpha_words", ratio(s, "alpha_words", "words"), Limit(low=self.min_alpha_words, top=1)
        yield "stop_words", column(s, "stop_words"), Limit(low=self.min_stop_words, top=8, axis=8)


class GopherRepetitionConfig(RuleFamily):
    """Gopher's repetition rules (Rae et al. 2021, Table A1)."""

    max_dup_paragraphs: float = 0.30
    """Share of paragraphs that occurred before, at most."""
    max_dup_paragraph_chars: float = 0.20
    """Their share of the characters, at most."""
    max_dup_lines: float = 0.30
    """Share of lines that occurred before, at most."""
    max_dup_line_chars: float = 0.20
    """Their share of the characters, at most."""
    max_top_gram_chars: tuple[float, float, float] = (0.20, 0.18, 0.16)
    """Share of the characters in the most frequent 2-, 3- and 4-gram, at most."""
    max_dup_gram_chars: tuple[float, float, float, float, float, float] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)
    """Share of the characters in repeated 5- to 10-grams, at most."""

    def rules(self, s: Counts) -> Iterator[Rule]:
        """Each rule over (N, K) counts."""
        chars = column(s, "chars")
        yield "empty", chars, Limit(low=1, log=True)
        for name, limit, whole in (
            ("dup_paragraphs", self.max_dup_paragraphs, "paragraphs"),
            ("dup_paragraph_chars", self.max_dup_paragraph_chars, "chars"),
            ("dup_lines", self.max_dup_lines, "repetition_lines"),
            ("dup_line_chars", self.max_dup_line_chars, "chars"),
            *((f"top_{n}_gram_chars", limit, "chars") for n, limit in zip((2, 3, 4), self.max_top_gram_chars)),
            *((f"dup_{n}_gram_chars", limit, "chars") for n, limit in zip(range(5, 11), self.max_dup_gram_chars)),
        ):
            yield name, ratio(s, name, whole), Limit(high=limit, top=1)


class C4Config(RuleFamily):
    """C4's rules (Raffel et al. 2020): lines are removed, and documents that hold what should not be there."""

    terminal_punct: bool = True
    """Remove lines that do not end in one of . ? ! " ' or that end in "..." (FineWeb switches this off)."""
    min_words_per_line: int = 3
    """Remove lines of fewer words (between spaces)."""
    max_word_chars: int = 1000
    """Remove lines with a longer word."""
    javascript: bool = True
    """Remove lines that name JavaScript."""
    policy: bool = True
    """Remove lines with one of six phrases of terms and cookie notices."""
    citations: bool = True
    """Remove [12], [edit] and [citation needed] from lines."""
    lorem_ipsum: bool = True
    """Drop documents in which a line that would stay says "lorem ipsum"."""
    curly_bracket: bool = True
    """Drop documents in which a line that would stay has a "{"."""
    min_sentences: int = 5
    """Sentences in the lines that stay, at least."""
    edit: bool = True
    """Whether the lines are really removed; otherwise they only count towards the decision."""

    def line_rules(self) -> C4Rules:
        """What text_stats and line_edit obey."""
        return C4Rules(
            terminal_punct=self.terminal_punct,
            lorem_ipsum=self.lorem_ipsum,
            javascript=self.javascript,
            curly_bracket=self.curly_bracket,
            policy=self.policy,
            citations=self.citations,
            min_words=self.min_words_per_line,
            max_word_chars=self.max_word_chars,
        )

    def rules(self, s: Counts) -> Iterator[Rule]:
        """Each rule over (N, K) counts."""
        for name in ("lorem_ipsum", "curly_bracket"):
            yield name, column(s, f"c4_{name}_lines"), Limit(high=0)
        yield "sentences", column(s, "c4_sentences"), Limit(low=self.min_sentences, log=True)


class RefinedWebConfig(RuleFamily):
    """RefinedWeb's line rules (Penedo et al. 2023, G.2): lines are removed, and documents that lose too much by it."""

    max_uppercase: float = 0.5
    """Remove lines with a greater share of uppercase letters among their characters."""
    numeric: bool = True
    """Remove lines of numbers alone."""
    counters: bool = True
    """Remove counters ("3 likes")."""
    min_words_per_line: int = 2
    """Remove lines of fewer words (between spaces)."""
    phrases: bool = True
    """Take "items in cart", "Sign-in" at the beginning and "Read more..." at the end out of short lines."""
    max_phrase_words: int = 10
    """A line of at most so many words is short."""
    max_removed_words: float = 0.05
    """Share of the document's words that these rules remove, at most."""
    edit: bool = True
    """Whether the lines are really removed; otherwise they only count towards the decision."""

    def line_rules(self) -> RefinedWebRules:
        """What text_stats and line_edit obey."""
        return RefinedWebRules(
            max_uppercase=self.max_uppercase,
            numeric=self.numeric,
            counters=self.counters,
            min_words=self.min_words_per_line,
            phrases=self.phrases,
            max_phrase_words=self.max_phrase_words,
        )

    def rules(self, s: Counts) -> Iterator[Rule]:
        """Each rule over (N, K) counts."""
        yield "removed_words", ratio(s, "rw_removed_words", "text_words"), Limit(high=self.max_removed_words, top=1)


class FineWebConfig(RuleFamily):
    """FineWeb's own rules (Penedo et al. 2024), over what the line rules left."""

    min_punct_lines: float = 0.12
    """Share of lines that end in a terminal mark, at least."""
    short_line_chars: int = 30
    """A line of at most so many characters is short."""
    max_short_lines: float = 0.67
    """Share of short lines, at most."""
    max_dup_line_chars: float = 0.01
    """Share of the characters in repeated lines, at most. As coded; FineWeb's text and FineWeb-2 say 0.1."""
    max_newlines_per_word: float = 0.3
    """Newlines to words, at most."""

    def rules(self, s: Counts) -> Iterator[Rule]:
        """Each rule over (N, K) counts."""
        yield "empty", column(s, "left_full_lines"), Limit(low=1, log=True)
        yield "punct_lines", ratio(s, "left_punct_lines", "left_full_lines"), Limit(low=self.min_punct_lines, top=1)
        yield "short_lines", ratio(s, "left_short_lines", "left_full_lines"), Limit(high=self.max_short_lines, top=1)
        repeated = divide(column(s, "left_full_dup_chars"), column(s, "left_chars") - column(s, "left_newlines"))
        yield "dup_line_chars", repeated, Limit(high=self.max_dup_line_chars, top=1)
        yield "newlines", ratio(s, "left_newlines", "left_words"), Limit(high=self.max_newlines_per_word)


class RuleSet(Settings):
    """The families that read text_stats."""

    gopher_repetition: GopherRepetitionConfig = GopherRepetitionConfig()
    """Repeated lines, paragraphs and n-grams."""
    gopher_quality: GopherQualityConfig = GopherQualityConfig()
    """Words, symbols, bullets, stop words."""
    c4: C4Config = C4Config()
    """Lines that are no sentences; removed from the text."""
    refinedweb: RefinedWebConfig = RefinedWebConfig()
    """Lines in capitals, numbers, counters, single words; removed from the text."""
    fineweb: FineWebConfig = FineWebConfig()
    """Punctuation, short lines, repeats; reads what the line rules left."""


LINE_COLUMNS: dict[str, str] = {
    **{f"c4:{reason}": f"c4_{reason}_lines" for reason in C4_REASONS},
    **{f"refinedweb:{reason}": f"rw_{reason}_lines" for reason in REFINEDWEB_REASONS},
}
"""Line rule -> column of text_stats that counts the lines that it refuses."""


def column(s: Counts, name: str) -> Values:
    """One statistic of all documents."""
    return s[:, COLUMN[name]].astype(np.float64)


def divide(part: Values, whole: Values) -> Values:
    """part / whole, 0 where the whole is 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole != 0)


def ratio(s: Counts, part: str, whole: str) -> Values:
    """One statistic as a share of another."""
    return divide(column(s, part), column(s, whole))


def judge(name: str, rules: Iterator[Rule], num_documents: int) -> Verdict:
    """Gather a family's rules."""
    found = list(rules)
    values = np.array([v for _, v, _ in found], np.float64).reshape(len(found), num_documents).T
    fails = np.array([limit.fails(v) for _, v, limit in found], np.bool_).reshape(len(found), num_documents).T
    return Verdict(tuple(f"{name}:{r}" for r, _, _ in found), values, fails, tuple(limit for *_, limit in found))


def judge_all(s: Counts, families: RuleSet) -> dict[str, Verdict]:
    """Every family over the same counts, whether enabled or not."""
    named = {
        "gopher_repetition": families.gopher_repetition.rules(s),
        "gopher_quality": families.gopher_quality.rules(s),
        "c4": families.c4.rules(s),
        "refinedweb": families.refinedweb.rules(s),
        "fineweb": families.fineweb.rules(s),
    }
    return {name: judge(name, rules, len(s)) for name, rules in named.items()}
