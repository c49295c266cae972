"""What a recipe says about filtering."""

from typing import Literal

from pydantic import Field, model_validator

from fasttrain.core.config import Settings
from fasttrain.filter.classifier import QualityConfig
from fasttrain.filter.language import LanguageConfig
from fasttrain.filter.pii_ref import KINDS
from fasttrain.filter.rules import (
    C4Config,
    FineWebConfig,
    GopherQualityConfig,
    GopherRepetitionConfig,
    RefinedWebConfig,
    RuleSet,
)
from fasttrain.filter.safety import SafetyConfig
from fasttrain.filter.urls import UrlConfig

Family = Literal[
    "url",
    "language",
    "gopher_repetition",
    "gopher_quality",
    "c4",
    "refinedweb",
    "fineweb",
    "quality",
    "safety",
    "pii",
]
ORDER: tuple[Family, ...] = (
    "url", "language", "gopher_repetition", "gopher_quality", "c4", "refinedweb", "fineweb", "quality", "safety",
    "pii",
)  # fmt: skip
PROFILES: dict[str, tuple[Family, ...]] = {
    "prose": ORDER,
    "curated": ("url", "language", "safety", "pii"),
    "multilingual": ("url", "language", "gopher_repetition", "safety", "pii"),
    "code": ("url", "pii"),
}


PiiKind = Literal["email", "ip", "phone", "card", "iban", "national_id", "secret"]


class PiiConfig(Settings):
    """Personal data: masked in documents that stay, a reason to drop a document, or only flagged."""

    enabled: bool = True
    """Whether personal data is looked for."""
    kinds: tuple[PiiKind, ...] = ("email", "ip", "phone", "card", "iban", "national_id", "secret")
    """What is masked; IP addresses only when public, cards by Luhn, IBANs by mod 97, national ids by form and checksum,
    secrets by the prefix that their issuers gave them."""
    drop: tuple[PiiKind, ...] = ()
    """Kinds of which one finding drops the document; they need not be in `kinds`."""
    flag: tuple[PiiKind, ...] = ()
    """Kinds that are left as they are and counted in the ledger, where the document is `tagged`."""

    @model_validator(mode="after")
    def _one_action(self) -> "PiiConfig":
        both = sorted(
            set(self.flag) & (set(self.drop) | (set(self.kinds) if "kinds" in self.model_fields_set else set()))
        )
        if both:
            raise ValueError(f"flag: {', '.join(both)} must not be in kinds or drop too; take it out of one of them")
        return self

    @property
    def masked(self) -> tuple[PiiKind, ...]:
        """Kinds that are masked: `kinds` without those that drop or flag."""
        return tuple(k for k in self.kinds if k not in self.drop and k not in self.flag)


class FilterConfig(Settings):
    """The filter stage: families of rules, asked in the order of their fields, and which sources each is for."""

    url: UrlConfig = UrlConfig()
    """Domain and URL lists."""
    language: LanguageConfig = LanguageConfig()
    """Language identification; names `language` in each document."""
    gopher_repetition: GopherRepetitionConfig = GopherRepetitionConfig()
    """Repeated lines, paragraphs and n-grams."""
    gopher_quality: GopherQualityConfig = GopherQualityConfig()
    """Words, symbols, bullets, stop words (English prose)."""
    c4: C4Config = C4Config()
    """Lines that are no sentences; removed from the text (English web pages)."""
    refinedweb: RefinedWebConfig = RefinedWebConfig()
    """Lines in capitals, numbers, counters, single words; removed from the text (web pages)."""
    fineweb: FineWebConfig = FineWebConfig()
    """Punctuation, short lines, repeats (web pages); reads what the line rules left."""
    quality: QualityConfig = QualityConfig()
    """A classifier's score, when a recipe names its file."""
    safety: SafetyConfig = SafetyConfig()
    """Word lists, and a classifier's score when a recipe names its file."""
    pii: PiiConfig = PiiConfig()
    """Personal data, masked in what stays."""
    profiles: dict[str, tuple[Family, ...]] = Field(default_factory=dict)
    """Named sets of families, beside or in place of the built-in ones: prose (all), curated (url, language, safety,
    pii: books, speeches, verse), multilingual (curated and gopher_repetition), code (url, pii)."""
    profile_of: dict[str, str] = Field(default_factory=dict)
    """Profile of each source that does not have the default one."""
    default_profile: str = "prose"
    """Profile of all other sources."""
    samples_per_reason: int = Field(default=3, ge=0)
    """Documents on each side of each threshold of which the manifest keeps the beginning, personal data masked."""

    @model_validator(mode="after")
    def _known_profiles(self) -> "FilterConfig":
        known = {**PROFILES, **self.profiles}
        for source, name in [*self.profile_of.items(), ("", self.default_profile)]:
            if name not in known:
                where = f"profile_of.{source}" if source else "default_profile"
                raise ValueError(f"{where}: no profile {name!r}; known are {', '.join(sorted(known))}")
        return self

    def families(self, source: str) -> frozenset[str]:
        """Families that are enabled for a source."""
        named = {**PROFILES, **self.profiles}[self.profile_of.get(source, self.default_profile)]
        return frozenset(name for name in named if getattr(self, name).enabled)

    def files(self) -> list[tuple[str, str]]:
        """Files that the settings name: (key, path relative to the recipe)."""
        found = [(f"filter.url.domain_files.{i}", name) for i, name in enumerate(self.url.domain_files)]
        found += [(f"filter.url.url_files.{i}", name) for i, name in enumerate(self.url.url_files)]
        found += [(f"filter.url.word_files.{i}", name) for i, name in enumerate(self.url.word_files)]
        found += [("filter.quality.model", self.quality.model)] if self.quality.enabled else []
        found += [("filter.safety.model", self.safety.model)] if self.safety.enabled and self.safety.model else []
        return found + [
            (f"filter.safety.lists.{language}", name) for language, name in sorted(self.safety.lists.items())
        ]

    def rule_set(self) -> RuleSet:
        """The families that read text_stats."""
        return RuleSet(
            gopher_repetition=self.gopher_repetition,
            gopher_quality=self.gopher_quality,
            c4=self.c4,
            refinedweb=self.refinedweb,
            fineweb=self.fineweb,
        )


assert PiiConfig().kinds == KINDS
