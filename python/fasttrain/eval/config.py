"""Settings of an evaluation: what is generated, which baselines are measured, which gates must hold."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fasttrain.core.config import Settings

Baseline = Literal["unigram", "bigram", "zstd"]


class GateConfig(Settings):
    """A threshold that fails a run: `value <= max`, or `value <= baseline - by`."""

    metric: Literal["bpb", "perplexity"] = "bpb"
    """Bits per byte of text, or perplexity per token."""
    source: str = Field(default="all", min_length=1)
    """A source of the probe set, `all` (the whole set as one text) or `each` (every source must pass)."""
    max: float | None = Field(default=None, gt=0)
    """The largest value that passes."""
    beats: Baseline | None = None
    """The baseline on the same text that must be beaten."""
    by: float = Field(default=0.0, ge=0)
    """By how much `beats` must be beaten, in units of the metric."""

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        if (self.max is None) == (self.beats is None):
            raise ValueError("a gate must have exactly one of max and beats")
        if self.beats == "zstd" and self.metric == "perplexity":
            raise ValueError("zstd has no tokens, so no perplexity; use metric = 'bpb'")
        return self


class EvalConfig(Settings):
    """How a checkpoint is evaluated on the probe set."""

    prompts: tuple[str, ...] = ("The ", "Once upon a time", "def ", "In the year")
    """Texts to continue; the same ones at every evaluation, so that generations can be compared."""
    max_new_tokens: int = Field(default=64, ge=0)
    """Tokens generated for each prompt."""
    temperature: float = Field(default=0.0, ge=0)
    """Of the generations; 0 takes the likeliest token every time."""
    top_k: int = Field(default=0, ge=0)
    """Sample among this many likeliest tokens only; 0 among all."""
    seed: int = Field(default=0, ge=0)
    """Of the generations; each prompt draws from a stream of its own."""
    context_tokens: int = Field(default=0, ge=0)
    """Longest input that is scored at once; 0: what training saw, `batch.seq_len`, or of another run's model all of its
    `max_seq_len`."""
    overlap_tokens: int = Field(default=0, ge=0)
    """Tokens of a long document that each window reads again as context, unscored; 0: windows side by side."""
    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens of one forward pass: bounds the logits to so many rows of the vocabulary (0.3 GB at 32,768 words)."""
    baselines: tuple[Baseline, ...] = ("unigram", "bigram", "zstd")
    """What is measured beside the model, on the same text."""
    baseline_tokens: int = Field(default=20_000_000, ge=1)
    """Training tokens, spread evenly over the sources' documents, that the unigram and bigram are counted on."""
    zstd_level: int = Field(default=19, ge=1, le=22)
    """Compression level; each source is one stream without a dictionary."""
    gates: tuple[GateConfig, ...] = ()
    """What must hold; a gate that fails makes the command end with status 1."""
