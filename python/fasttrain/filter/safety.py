"""Word lists against toxic text: how often the listed words of a document's language occur in it.

The built-in lists are those of the naughty-words package (CC BY 4.0, data/safety/NOTICE), one a language.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import Field

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.filter.rules import Mode

BUILT_IN = Path(__file__).parents[1] / "data" / "safety"
_NO_SPACES = frozenset({"ja", "th", "zh", "lo", "km", "my"})


class SafetyConfig(Settings):
    """Words that a document may hold only so many of."""

    enabled: bool = True
    """Whether words are counted at all."""
    mode: Mode = "drop"
    """drop, or tag: see the rule families."""
    max_hits: int = Field(default=3, ge=0)
    """Listed words in a document that are always allowed (a novel or a dictionary is not toxic for one word)."""
    max_fraction: float = Field(default=0.005, ge=0, le=1)
    """Share of listed words among all words; a document goes when it exceeds both limits. C4 itself allows none."""
    max_fraction_of: dict[str, float] = Field(default_factory=dict)
    """Other shares for single languages."""
    lists: dict[str, str] = Field(default_factory=dict)
    """Files of words by language, one a line, relative to the recipe; they take the place of the built-in list."""
    built_in: bool = True
    """Whether the built-in lists hold for the languages that `lists` does not name."""
    model: str = ""
    """A supervised fastText file (.bin or .ftz) relative to the recipe; empty: no classifier is asked."""
    label: str = "__label__toxic"
    """The label that harmful documents have, as the file writes it."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability of the label above which a document breaks safety:score."""


@cache
def _pattern(path: str, language: str) -> str:
    """A regular expression (RE2) of the list's words, whole words only where the script has spaces."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"filter.safety.lists.{language}: {path} must be a UTF-8 text file, got {error}") from None
    words = sorted({w.strip().lower() for w in lines if w.strip()}, key=lambda w: (-len(w), w))
    if not words:
        return ""
    either = "|".join("".join(c if c.isalnum() or ord(c) > 127 else f"\\{c}" for c in w) for w in words)
    return f"({either})" if language in _NO_SPACES else rf"(?:^|[^\pL\pN_])({either})(?:$|[^\pL\pN_])"


def path_of(config: SafetyConfig, language: str, base: Path) -> Path | None:
    """The list for a language, None when there is none."""
    if language in config.lists:
        return base / config.lists[language]
    built_in = BUILT_IN / f"{language}.txt"
    return built_in if config.built_in and built_in.exists() else None


def count(texts: Any, language: str, path: Path) -> npt.NDArray[np.int64]:
    """(N,) listed words in each text (a pa.Array of strings), letter case ignored.

    Two listed words with one character between them count as one: a match takes its neighbours' place.
    """
    pattern = _pattern(str(path), language)
    if not pattern:
        return np.zeros(len(texts), np.int64)
    lower = pc.utf8_lower(texts)
    return np.asarray(pc.count_substring_regex(lower, pattern=pattern), np.int64)


def judge(
    texts: Any, languages: list[str], words: npt.NDArray[np.int64], config: SafetyConfig, base: Path
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Hits, their share of the words, and whether both limits are exceeded, for each text."""
    hits = np.zeros(len(languages), np.int64)
    limit = np.full(len(languages), config.max_fraction)
    names = np.array(languages, dtype=object)
    for language in sorted(set(languages)):
        path = path_of(config, language, base)
        if path is None:
            continue
        rows = np.flatnonzero(names == language)
        hits[rows] = count(texts.take(rows.tolist()), language, path)
        limit[rows] = config.max_fraction_of.get(language, config.max_fraction)
    share = hits / np.maximum(words, 1)
    return hits, share, (hits > config.max_hits) & (share > limit)
