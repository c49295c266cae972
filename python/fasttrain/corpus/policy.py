"""Which licences and sources may be trained on: decided for every document as it is read, before any other stage.

A verdict is allow, review (somebody must look at it first) or deny. A document's licence is an SPDX expression: of
`A OR B` the better side counts, because the user may choose; of `A AND B` the worse one; `A WITH E` is looked up as
written, then as A. An identifier takes the verdict of the first list that names it, in full or else by a pattern:
deny, review, allow.
Source: SPDX specification 2.3, annex D (licence expressions; operators WITH, AND, OR bind in this order).
"""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Literal

from pydantic import Field, model_validator

from fasttrain.core.config import Settings

Verdict = Literal["allow", "review", "deny"]
_RANK: dict[Verdict, int] = {"allow": 0, "review": 1, "deny": 2}
_TOKEN = re.compile(r"\s*([()]|[^\s()]+)")
_UNKNOWN = ("", "unknown", "NOASSERTION", "NONE")


class SourcePolicy(Settings):
    """What holds for one source, and why."""

    source: str = Field(min_length=1)
    """Name of the source."""
    verdict: Verdict
    """deny: the source is not read at all. allow, review: for its documents whose licence is on no list."""
    reason: str = Field(min_length=1)
    """Who decided so and why; it goes into the ledger and the datasheet."""
    terms: str = ""
    """Where the terms of use can be read."""


class PolicyConfig(Settings):
    """Licence and terms policy of a corpus."""

    allow: tuple[str, ...] = ()
    """Licences that may be used: SPDX identifiers, `*` and `?` stand for any characters ("CC-BY-*")."""
    review: tuple[str, ...] = ()
    """Licences that somebody must look at first."""
    deny: tuple[str, ...] = ()
    """Licences that must not be used; before the other lists."""
    other: Verdict = "allow"
    """Verdict for a licence that no list names."""
    unknown: Verdict = "allow"
    """Verdict for documents without a known licence."""
    on_review: Literal["hold", "keep"] = "hold"
    """hold: documents under review stay out of the corpus; keep: they go on, and the ledger names them."""
    sources: tuple[SourcePolicy, ...] = ()
    """Decisions about whole sources."""

    @model_validator(mode="after")
    def _check(self) -> "PolicyConfig":
        names = [s.source for s in self.sources]
        if len(set(names)) != len(names):
            raise ValueError(f"sources must name each source once, got {names}")
        return self

    def of_source(self, name: str) -> SourcePolicy | None:
        """The decision about a source, when there is one."""
        return next((s for s in self.sources if s.source == name), None)


@dataclass(frozen=True)
class Decision:
    """What the policy says of a licence in a source."""

    verdict: Verdict
    why: str  # the list or key that decided: deny, review, allow, other, unknown, source


def decide(licence: str, source: str, config: PolicyConfig) -> Decision:
    """The policy's decision about a document of this licence in this source."""
    stated = config.of_source(source)
    if stated is not None and stated.verdict == "deny":
        return Decision("deny", "source")
    found = _listed(licence.strip(), config)
    if stated is not None and found.why in ("other", "unknown"):
        return Decision(stated.verdict, "source")
    return found


@lru_cache(maxsize=4096)
def _listed(licence: str, config: PolicyConfig) -> Decision:
    if licence in _UNKNOWN:
        return Decision(config.unknown, "unknown")
    tokens = _TOKEN.findall(licence)
    try:
        decision, rest = _any_of(tokens, config)
    except (IndexError, ValueError):
        return _name(licence, config)  # no SPDX expression ("CC BY-SA 4.0"): one name
    return decision if not rest else _name(licence, config)


def _any_of(tokens: list[str], config: PolicyConfig) -> tuple[Decision, list[str]]:
    best, tokens = _all_of(tokens, config)
    while tokens and tokens[0].upper() == "OR":
        other, tokens = _all_of(tokens[1:], config)
        best = min(best, other, key=lambda d: _RANK[d.verdict])
    return best, tokens


def _all_of(tokens: list[str], config: PolicyConfig) -> tuple[Decision, list[str]]:
    worst, tokens = _one(tokens, config)
    while tokens and tokens[0].upper() == "AND":
        other, tokens = _one(tokens[1:], config)
        worst = max(worst, other, key=lambda d: _RANK[d.verdict])
    return worst, tokens


def _one(tokens: list[str], config: PolicyConfig) -> tuple[Decision, list[str]]:
    head, tokens = tokens[0], tokens[1:]
    if head == "(":
        inside, tokens = _any_of(tokens, config)
        if tokens[0] != ")":
            raise ValueError("no closing bracket")
        return inside, tokens[1:]
    if head == ")" or head.upper() in ("AND", "OR", "WITH"):
        raise ValueError("an identifier must stand here")
    if len(tokens) > 1 and tokens[0].upper() == "WITH":
        whole = _name(f"{head} WITH {tokens[1]}", config)
        return (whole if whole.why != "other" else _name(head, config)), tokens[2:]
    return _name(head, config), tokens


def _name(name: str, config: PolicyConfig) -> Decision:
    lists: tuple[tuple[Verdict, tuple[str, ...]], ...] = (
        ("deny", config.deny), ("review", config.review), ("allow", config.allow),
    )  # fmt: skip
    for matches in (str.__eq__, fnmatchcase):  # a name goes before a pattern: "GPL-2.0 WITH x" before "GPL-*"
        for verdict, patterns in lists:
            if any(matches(name.lower(), pattern.lower()) for pattern in patterns):
                return Decision(verdict, verdict)
    if name in _UNKNOWN:
        return Decision(config.unknown, "unknown")
    return Decision(config.other, "other")
