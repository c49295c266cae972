"""Word lists against toxic text: how often the listed words of a document's language occur in it, and in what company.

The built-in lists are those of the naughty-words package (CC BY 4.0, data/safety/NOTICE), one a language. Beside each
lies ours (data/safety/context): which of its words are ambiguous, and which words around decide about them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.filter import word_list
from fasttrain.filter.rules import Mode
from fasttrain.filter.word_list import COUNTS, WordLists
from fasttrain.text.columns import TextColumn

BUILT_IN = Path(__file__).parents[1] / "data" / "safety"
BUILT_IN_CONTEXT = BUILT_IN / "context"
_STRONG, _IN_CONTEXT = COUNTS.index("strong"), COUNTS.index("in_context")


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
    """Files of words by language, one a line, relative to the recipe; they take the place of the built-in list and its
    context. Sections [words], [ambiguous], [context] and [excuse] sort entries; "word*" matches all that begin so."""
    built_in: bool = True
    """Whether the built-in lists hold for the languages that `lists` does not name."""
    context: bool = True
    """Whether ambiguous words count only where a listed or context word is near and none that excuses; all listed words
    count when false, as in C4."""
    window: int = Field(default=12, ge=0, le=word_list.MOST_WINDOW)
    """How many words away "near" ends."""
    model: str = ""
    """A supervised fastText file (.bin or .ftz) relative to the recipe; empty: no classifier is asked."""
    label: str = "__label__toxic"
    """The label that harmful documents have, as the file writes it."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability of the label above which a document breaks safety:score."""


class SafetyLists:
    """The compiled lists of all languages that have one."""

    def __init__(self, config: SafetyConfig, base: Path) -> None:
        """Raises: ConfigError: a list of the recipe cannot be read."""
        self.config = config
        entries = {language: _read(language, base / name) for language, name in sorted(config.lists.items())}
        if config.built_in:
            for path in sorted(BUILT_IN.glob("*.txt")):
                if path.stem not in entries:
                    entries[path.stem] = built_in(path.stem)
        self.number: Mapping[str, int] = {language: k for k, language in enumerate(entries)}
        self.lists: WordLists = word_list.compile_lists(list(entries.values()))

    def count(
        self, texts: TextColumn, languages: Sequence[str], *, threads: int | None = None
    ) -> npt.NDArray[np.int64]:
        """(N, 4) What word_list.word_list counts in each text, zeros where its language has no list."""
        which = np.array([self.number.get(language, -1) for language in languages], np.int32)
        return word_list.word_list(texts, which, self.lists, window=self.config.window, threads=threads)

    def judge(
        self, counts: npt.NDArray[np.int64], languages: Sequence[str], words: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """The share of the words that count among all `words` (N,), and whether both limits are exceeded."""
        config = self.config
        hits = counts[:, _STRONG] + counts[:, _IN_CONTEXT] if config.context else counts.sum(axis=1)
        limit = np.array([config.max_fraction_of.get(language, config.max_fraction) for language in languages])
        share = hits / np.maximum(words, 1)
        return share, (hits > config.max_hits) & (share > limit)


def built_in(language: str) -> dict[str, int]:
    """The built-in list of a language with our context for it."""
    return word_list.read(BUILT_IN / f"{language}.txt") | word_list.read(BUILT_IN_CONTEXT / f"{language}.txt")


def _read(language: str, path: Path) -> dict[str, int]:
    where = f"filter.safety.lists.{language}"
    try:
        return word_list.read(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {path} must be a UTF-8 text file, got {error}") from None
    except FormatError as error:
        raise ConfigError(f"{where}: {path}: {error}") from None
