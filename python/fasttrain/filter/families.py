"""The families of the filter stage, opened from their settings; config.ORDER says in which order they are asked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fasttrain.filter import classifier, language, pii, rules, safety, urls
from fasttrain.filter.config import ORDER, FilterConfig, PiiConfig
from fasttrain.filter.family import Documents, Family, Mask, Opinion, named, note_number, note_numbers, note_rows
from fasttrain.filter.line_edit import EDIT_C4, EDIT_REFINEDWEB
from fasttrain.filter.pii_ref import KINDS
from fasttrain.filter.rules import Verdict
from fasttrain.filter.text_stats import COLUMN
from fasttrain.filter.word_list import COUNTS
from fasttrain.text import columns


def open_families(config: FilterConfig, base: Path) -> dict[str, Family]:
    """Every enabled family by name, in the order in which they are asked. Raises: ConfigError: a file of theirs.

    `lines` is the edit that C4 and RefinedWeb share; it is asked of the documents that `edits` names.
    """
    makers: dict[str, Any] = {
        "url": lambda: UrlFamily(config.url, base),
        "language": lambda: LanguageFamily(config.language),
        "gopher_repetition": lambda: RuleFamily("gopher_repetition", config.gopher_repetition),
        "gopher_quality": lambda: RuleFamily("gopher_quality", config.gopher_quality),
        "c4": lambda: RuleFamily("c4", config.c4),
        "refinedweb": lambda: RuleFamily("refinedweb", config.refinedweb),
        "fineweb": lambda: RuleFamily("fineweb", config.fineweb),
        "quality": lambda: QualityFamily(config.quality, base),
        "safety": lambda: SafetyFamily(config.safety, base),
        "pii": lambda: PiiFamily(config.pii),
    }
    families: dict[str, Family] = {}
    for name in ORDER:
        if getattr(config, name).enabled:
            families[name] = makers[name]()
        if name == "refinedweb":
            families["lines"] = LineFamily()
    return families


class UrlFamily:
    """Lists of domains, URLs and words, against the origin."""

    def __init__(self, config: urls.UrlConfig, base: Path) -> None:
        self.config, self.lists = config, urls.UrlLists(config, base)

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        found = self.lists.find(urls.strings(documents.batch.column("origin")), documents.threads)
        verdict = named(urls.REASONS, found, np.ones(len(documents)))
        return Opinion(verdict, mode=self.config.mode, scores=self.config.scores)


class LanguageFamily:
    """Names languages; a document in another one than those wanted goes."""

    def __init__(self, config: language.LanguageConfig) -> None:
        self.config = config

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        config, n = self.config, len(documents)
        names, scores, found = language.name_languages(documents.texts, documents.languages, config, documents.threads)
        reasons = ["language:other", "language:score"]
        verdict = named(tuple(reasons), np.array([reasons.index(f) + 1 if f else 0 for f in found], np.int64), scores)
        if config.mixed == "off":
            return Opinion(verdict, languages=names)
        rows = np.flatnonzero(asked & documents.standing & language.asked(documents.languages, config))
        texts = documents.texts if len(rows) == n else documents.texts.take(pa.array(rows))
        mixed = {int(rows[i]): shares for i, shares in language.mixtures(texts, config, documents.threads).items()}
        is_mixed = np.zeros(n, np.bool_)
        is_mixed[list(mixed)] = True
        note = {"languages": note_rows(n, mixed)}
        if config.mixed == "flag":
            counts = {"flagged:language:mixed": is_mixed.astype(np.int64)}
            return Opinion(verdict, languages=names, evidence=note, meta=note, counts=counts, told=is_mixed)
        second = np.zeros(n)
        for row, shares in mixed.items():
            second[row] = sorted(shares.values())[-2]
        both = Verdict(
            (*verdict.reasons, "language:mixed"),
            np.column_stack([verdict.values, second]),
            np.column_stack([verdict.fails, is_mixed]),
        )
        return Opinion(both, languages=names, evidence=note)


class RuleFamily:
    """Thresholds over text_stats."""

    def __init__(self, name: str, config: Any) -> None:
        self.name, self.config = name, config

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        verdict = rules.judge(self.name, self.config.rules(documents.stats), len(documents))
        return Opinion(verdict, mode=self.config.mode, scores=self.config.scores)


class LineFamily:
    """Takes the lines out that C4 and RefinedWeb refuse; text_stats has made the edit in its own pass."""

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        stats = documents.stats
        counts = {rule: stats[:, COLUMN[name]] for rule, name in rules.LINE_COLUMNS.items()}
        of_c4, of_refinedweb = documents.edit & EDIT_C4 > 0, documents.edit & EDIT_REFINEDWEB > 0
        counts = {r: np.where(of_c4 if r.startswith("c4:") else of_refinedweb, n, 0) for r, n in counts.items()}
        refinedweb = np.any([n > 0 for rule, n in counts.items() if rule.startswith("refinedweb:")], axis=0)
        c4 = of_c4 & ((stats[:, COLUMN["c4_kept_lines"]] < stats[:, COLUMN["lines"]]) | ~refinedweb)
        return Opinion(
            texts=columns.to_arrow(documents.edited),
            edit={"c4:lines": c4, "refinedweb:lines": refinedweb},
            edit_evidence={
                "lines": note_numbers(counts),
                "lines_removed": note_number(stats[:, COLUMN["removed_lines"]]),
            },
            counts={f"lines:{rule}": n for rule, n in counts.items()},
        )


def edits(config: FilterConfig, asked: Mapping[str, Mask], n: int) -> npt.NDArray[np.uint8]:
    """(N,) Whose line rules edit each document."""
    bits = np.zeros(n, np.uint8)
    for name, bit in (("c4", EDIT_C4), ("refinedweb", EDIT_REFINEDWEB)):
        settings = getattr(config, name)
        if settings.edit and settings.mode == "drop":
            bits |= asked[name] * np.uint8(bit)
    return bits


class QualityFamily:
    """A classifier's score."""

    def __init__(self, config: classifier.QualityConfig, base: Path) -> None:
        self.config = config
        self.model = classifier.open_model("filter.quality.model", base / config.model, config.label)

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        values = _scored(self.model, self.config.label, documents, asked)
        verdict = classifier.below("quality:score", values, self.config.threshold)
        return Opinion(verdict, mode=self.config.mode, scores=self.config.scores)


def _scored(model: Any, label: str, documents: Documents, asked: Mask) -> npt.NDArray[np.float64]:
    """(N,) The label's probability for documents that are asked about, dropped ones too (histograms); 0 for others."""
    rows = np.flatnonzero(asked)
    values = np.zeros(len(documents))
    values[rows] = classifier.score(model, documents.column(rows), label, documents.threads)
    return values


class SafetyFamily:
    """Word lists, and a classifier's score."""

    def __init__(self, config: safety.SafetyConfig, base: Path) -> None:
        self.config, self.lists = config, safety.SafetyLists(config, base)
        path = base / config.model
        self.model = classifier.open_model("filter.safety.model", path, config.label) if config.model else None

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        words, languages = documents.stats[:, COLUMN["words"]], documents.languages
        counts = self.lists.count(columns.from_arrow(documents.texts), languages, threads=documents.threads)
        share, fails = self.lists.judge(counts, languages, words)
        limit = rules.Limit(high=self.config.max_fraction, top=1)
        verdict = rules.Verdict(("safety:words",), share[:, None], fails[:, None], (limit,))
        if self.model is not None:
            values = _scored(self.model, self.config.label, documents, asked)
            verdict = rules.joined(verdict, classifier.above("safety:score", values, self.config.threshold))
        listed = np.where(fails[:, None], counts, 0)  # told where it decides: most novels hold some
        evidence = {"listed": note_numbers(dict(zip(COUNTS, listed.T)))} if fails.any() else {}
        return Opinion(verdict, mode=self.config.mode, evidence=evidence)


class PiiFamily:
    """Masks personal data in documents that stay, drops or flags those that hold kinds of which a recipe says so."""

    def __init__(self, config: PiiConfig) -> None:
        self.config = config

    def judge(self, documents: Documents, asked: Mask) -> Opinion:
        config, n = self.config, len(documents)
        rows = np.flatnonzero(asked & documents.standing)
        column = documents.column(rows)
        found = np.zeros((n, len(KINDS)), np.int64)
        if config.drop or config.flag:
            found[rows] = pii.count(column, threads=documents.threads)
        told: dict[str, Any] = {k: found[:, KINDS.index(k)] for k in config.flag}
        fails = found[:, [KINDS.index(k) for k in config.drop]] > 0
        verdict = (
            Verdict(tuple(f"pii:{k}" for k in config.drop), fails.astype(np.float64), fails) if config.drop else None
        )
        result = pii.mask(column, config.masked, threads=documents.threads)
        masked = np.zeros((n, len(KINDS)), np.int64)
        masked[rows] = result.counts
        counts = dict(zip(KINDS, masked.T))
        return Opinion(
            verdict,
            texts=documents.replaced(rows, result.column) if result.counts.any() else None,
            edit="pii:masked",
            edit_evidence={"masked": note_numbers(counts)},
            evidence={"flagged": note_numbers(told)} if told else {},
            counts={f"masked:{kind}": column for kind, column in counts.items() if column.any()}
            | {f"flagged:{kind}": column for kind, column in told.items() if column.any()},
            told=np.any([column > 0 for column in told.values()], axis=0) if told else None,
        )
