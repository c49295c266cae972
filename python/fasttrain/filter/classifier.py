"""Supervised fastText classifiers as rules: the probability of one label against a threshold (quality, safety)."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.filter import fasttext
from fasttrain.filter.fasttext import FasttextModel
from fasttrain.filter.rules import Limit, Mode, Scores, Verdict
from fasttrain.text.columns import TextColumn


class QualityConfig(Settings):
    """A classifier of quality: documents of which it is not sure enough go, or carry its score."""

    enabled: bool = False
    """Whether documents are classified."""
    mode: Mode = "drop"
    """drop, or tag: see the rule families."""
    scores: Scores = "broken"
    """In tag mode: which documents get their score into meta.scores."""
    model: str = ""
    """A supervised fastText file (.bin or .ftz), relative to the recipe."""
    label: str = "__label__hq"
    """The label that good documents have, as the file writes it."""
    threshold: float = Field(default=0.5, ge=0, le=1)
    """Probability of the label below which a document breaks quality:score."""

    @model_validator(mode="after")
    def _has_model(self) -> "QualityConfig":
        if self.enabled and not self.model:
            raise ValueError("model: must name a fastText file when the family is enabled; or set enabled = false")
        return self


@cache
def _loaded(path: Path, stamp: tuple[int, int]) -> FasttextModel:
    """A model; once for each state of its file."""
    return fasttext.load(path)


def open_model(key: str, path: Path, label: str) -> FasttextModel:
    """The model of a setting. Raises: ConfigError: the file cannot be read, is no model, or has no such label."""
    try:
        stat = path.stat()
        model = _loaded(path.resolve(), (stat.st_mtime_ns, stat.st_size))
    except (OSError, FormatError) as error:
        raise ConfigError(f"{key}: {path} must be a supervised fastText model, got {error}") from None
    if label not in model.labels:
        raise ConfigError(f"{key}: {path} has no label {label!r}; it has {', '.join(model.labels[:8])}")
    return model


def score(model: FasttextModel, texts: TextColumn, label: str, threads: int) -> npt.NDArray[np.float64]:
    """(N,) Probability of the label for each text; whole texts, line breaks as spaces.

    Text is as the rules before have left it; nothing is lowered or stripped, which is what a classifier that was
    trained with one line a document (DCLM's; `fasttext supervised` in general) expects.
    """
    return fasttext.probability(model, texts, label, threads=threads)


def below(reason: str, values: npt.NDArray[np.float64], threshold: float) -> Verdict:
    """The rule that a probability must reach the threshold."""
    return Verdict((reason,), values[:, None], (values < threshold)[:, None], (Limit(low=threshold, top=1),))


def above(reason: str, values: npt.NDArray[np.float64], threshold: float) -> Verdict:
    """The rule that a probability must not exceed the threshold."""
    return Verdict((reason,), values[:, None], (values > threshold)[:, None], (Limit(high=threshold, top=1),))
