"""The published rules over the columns of text_stats: thresholds, reasons, and which documents fail which.

Nothing here looks at one document alone: a rule is a comparison of whole columns. Definitions: DEFINITIONS.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass
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
class Verdict:
    """What one family says of N documents; R rules."""

    reasons: tuple[str, ...]
    """Name of each rule, `family:rule`, in the order in which they are asked."""
    values: Values
    """(N, R) What was compared with the threshold."""
    fails: npt.NDArray[np.bool_]
    """(N, R) Whether the rule is broken."""

    @property
    def passes(self) -> npt.NDArray[np.bool_]:
        """(N,) Whether no rule is broken."""
        return np.logical_not(self.fails.any(axis=1))


Rule = tuple[str, Values, npt.NDArray[np.bool_]]


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
        yield "min_words", words, words < self.min_words
        yield "max_words", words, words > self.max_words
        mean = ratio(s, "text_word_chars", "text_words")
        yield "mean_word_chars", mean, (mean < self.min_mean_word_chars) | (mean > self.max_mean_word_chars)
        for name in ("hashes", "ellipses"):
            yield name, (r := ratio(s, name, "words")), r > self.max_symbol_ratio
        yield "bullet_lines", (r := ratio(s, "bullet_lines", "lines")), r > self.max_bullet_lines
        yield "ellipsis_lines", (r := ratio(s, "ellipsis_lines", "lines")), r > self.max_ellipsis_lines
        yield "alpha_words", (r := ratio(s, "alpha_words", "words")), r < self.min_alpha_words
        yield "stop_words", (r := column(s, "stop_words")), r < self.min_stop_words


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
        yield "empty", chars, chars == 0
        for name, limit, whole in (
            ("dup_paragraphs", self.max_dup_paragraphs, "paragraphs"),
            ("dup_paragraph_chars", self.max_dup_paragraph_chars, "chars"),
            ("dup_lines", self.max_dup_lines, "repetition_lines"),
            ("dup_line_chars", self.max_dup_line_chars, "chars"),
            *((f"top_{n}_gram_chars", limit, "chars") for n, limit in zip((2, 3, 4), self.max_top_gram_chars)),
            *((f"dup_{n}_gram_chars", limit, "chars") for n, limit in zip(range(5, 11), self.max_dup_gram_chars)),
        ):
            yield name, (r := ratio(s, name, whole)), r > limit


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
            lines = column(s, f"c4_{name}_lines")
            yield name, lines, lines > 0
        sentences = column(s, "c4_sentences")
        yield "sentences", sentences, sentences < self.min_sentences


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
        yield "removed_words", (r := ratio(s, "rw_removed_words", "text_words")), r > self.max_removed_words


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
        full = column(s, "left_full_lines")
        yield "empty", full, full == 0
        yield "punct_lines", (r := ratio(s, "left_punct_lines", "left_full_lines")), r < self.min_punct_lines
        yield "short_lines", (r := ratio(s, "left_short_lines", "left_full_lines")), r > self.max_short_lines
        r = divide(column(s, "left_full_dup_chars"), column(s, "left_chars") - column(s, "left_newlines"))
        yield "dup_line_chars", r, r > self.max_dup_line_chars
        yield "newlines", (r := ratio(s, "left_newlines", "left_words")), r > self.max_newlines_per_word


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
    fails = np.array([f for _, _, f in found], np.bool_).reshape(len(found), num_documents).T
    return Verdict(tuple(f"{name}:{r}" for r, _, _ in found), values, fails)


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
