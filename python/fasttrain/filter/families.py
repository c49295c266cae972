"""The families of the filter stage, opened from their settings; config.ORDER says in which order they are asked."""

from pathlib import Path
from typing import Any

import numpy as np

from fasttrain.filter import language, pii, rules, safety, urls
from fasttrain.filter.c4_lines import c4_lines
from fasttrain.filter.config import ORDER, FilterConfig, PiiConfig
from fasttrain.filter.family import Documents, Family, Mask, Opinion, named, note_number, note_numbers
from fasttrain.filter.pii_ref import KINDS
from fasttrain.filter.text_stats import COLUMN, text_stats


def open_families(config: FilterConfig, base: Path) -> dict[str, Family]:
    """Every enabled family by name, in the order in which they are asked. Raises: ConfigError: a file of theirs."""
    makers: dict[str, Any] = {
        "url": lambda: UrlFamily(config.url, base),
        "language": lambda: LanguageFamily(config.language),
        "gopher_repetition": lambda: RuleFamily("gopher_repetition", config.gopher_repetition),
        "gopher_quality": lambda: RuleFamily("gopher_quality", config.gopher_quality),
        "c4": lambda: C4Family(config),
        "fineweb": lambda: RuleFamily("fineweb", config.fineweb),
        "safety": lambda: SafetyFamily(config.safety, base),
        "pii": lambda: PiiFamily(config.pii),
    }
    return {name: makers[name]() for name in ORDER if getattr(config, name).enabled}


class UrlFamily:
    """Lists of domains, URLs and words, against the origin."""

    def __init__(self, config: urls.UrlConfig, base: Path) -> None:
        self.lists = urls.UrlLists(config, base)

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        found = self.lists.find(urls.strings(documents.batch.column("origin")))
        return Opinion(named(urls.REASONS, found, np.ones(len(documents))))


class LanguageFamily:
    """Names languages; a document in another one than those wanted goes."""

    def __init__(self, config: language.LanguageConfig) -> None:
        self.config = config

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        names, scores, found = language.name_languages(documents.texts, documents.languages, self.config)
        reasons = ("language:other", "language:score")
        codes = np.array([reasons.index(f) + 1 if f else 0 for f in found], np.int64)
        return Opinion(named(reasons, codes, scores), languages=names)


class RuleFamily:
    """Thresholds over text_stats, of the text as the line rules left it."""

    def __init__(self, name: str, config: Any) -> None:
        self.name, self.config = name, config

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        verdict = rules.judge(self.name, self.config.rules(documents.stats_now), len(documents))
        return Opinion(verdict, mode=self.config.mode, scores=self.config.scores)


class C4Family:
    """C4's rules; its lines are removed, and statistics taken again, of documents that pass them."""

    def __init__(self, config: FilterConfig) -> None:
        self.config, self.short = config.c4, config.fineweb.short_line_chars

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        n, c4 = len(documents), self.config
        verdict = rules.judge("c4", c4.rules(documents.stats), n)
        opinion = Opinion(verdict, mode=c4.mode, scores=c4.scores)
        rows = np.flatnonzero(asked & documents.standing & verdict.passes)
        if not c4.edit or c4.mode == "tag" or len(rows) == 0:
            return opinion
        edited = c4_lines(documents.column(rows), rules=c4.line_rules(), threads=documents.threads)
        after = documents.stats_now.copy()
        after[rows] = text_stats(edited, c4=c4.line_rules(), short_line_chars=self.short, threads=documents.threads)
        removed = documents.stats[:, COLUMN["lines"]] - documents.stats[:, COLUMN["c4_kept_lines"]]
        return Opinion(
            verdict,
            mode=c4.mode,
            texts=documents.replaced(rows, edited),
            edit="c4:lines",
            edit_evidence={"lines_removed": note_number(removed)},
            stats_now=after,
        )


class SafetyFamily:
    """Word lists."""

    def __init__(self, config: safety.SafetyConfig, base: Path) -> None:
        self.config, self.base = config, base

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        words = documents.stats[:, COLUMN["words"]]
        _, share, fails = safety.judge(documents.texts, documents.languages, words, self.config, self.base)
        verdict = rules.Verdict(("safety:words",), share[:, None], fails[:, None])
        return Opinion(verdict, mode=self.config.mode)


class PiiFamily:
    """Masks personal data in documents that stay."""

    def __init__(self, config: PiiConfig) -> None:
        self.config = config

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        rows = np.flatnonzero(asked & documents.standing)
        result = pii.mask(documents.column(rows), self.config.kinds, threads=documents.threads)
        if not result.counts.any():
            return Opinion()
        masked = np.zeros((len(documents), len(KINDS)), np.int64)
        masked[rows] = result.counts
        counts = dict(zip(KINDS, masked.T))
        return Opinion(
            texts=documents.replaced(rows, result.column),
            edit="pii:masked",
            edit_evidence={"masked": note_numbers(counts)},
            counts={f"masked:{kind}": column for kind, column in counts.items()},
        )
