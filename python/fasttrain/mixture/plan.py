"""What share of the training tokens each source gives: weights or a temperature, and a cap on repetition.

w[s] = size[s]^temperature / sum, or the given weights; then no source may pass `max_epochs` of its own tokens: what it
cannot give goes to the others in proportion to their weights (UniMax, Chung et al. 2023, arXiv:2304.09151). Where even
all sources together cannot give enough, each is repeated equally often, which is the smallest largest number of epochs.
"""

import math
from collections.abc import Mapping

from pydantic import Field, field_validator

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError

# Up to here repeated tokens are worth nearly as much as new ones (Muennighoff et al. 2023, arXiv:2305.16264).
WORTH_REPEATING = 4.0


class MixtureConfig(Settings):
    """How the sources are mixed."""

    weights: dict[str, float] | None = None
    """Share of each source, in any unit; a source that is not named is left out. None: by size and temperature."""
    temperature: float = Field(default=1.0, ge=0.0, le=1.0)
    """Without weights: 1 draws every source in proportion to its tokens, 0 draws all alike."""
    max_epochs: float = Field(default=WORTH_REPEATING, gt=0.0)
    """No source is repeated more often than this while another one can give tokens instead."""

    @field_validator("weights")
    @classmethod
    def _some_weight(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        if value is not None:
            if any(not math.isfinite(w) or w < 0 for w in value.values()):
                raise ValueError("every weight must be a number >= 0")
            if not any(w > 0 for w in value.values()):
                raise ValueError("at least one weight must be > 0")
        return value


class Mixture(Settings):
    """A mixture worked out: what mixture.json holds."""

    weights: dict[str, float]
    """Share of the drawn tokens by source; they sum to 1. Sources with no share are not named."""
    tokens: dict[str, int]
    """Tokens drawn from each source; they sum to the training tokens."""
    epochs: dict[str, float]
    """Times that each source is seen: its drawn tokens over its tokens."""
    warnings: tuple[str, ...]
    """What a reader should know: sources left out, capped or repeated often."""


def plan(config: MixtureConfig, tokens_by_source: Mapping[str, int], total_tokens: int) -> Mixture:
    """Work the mixture out for `total_tokens` training tokens from sources of the given sizes.

    Raises: ConfigError: a weight names an unknown or an empty source, or no source holds a token.
    """
    if total_tokens <= 0:
        raise ConfigError(f"mixture: training tokens must be > 0, got {total_tokens}; check train's steps and batch")
    sizes = {s: n for s, n in sorted(tokens_by_source.items()) if n > 0}
    warnings = [f"{s}: holds no tokens, so it is left out" for s in sorted(set(tokens_by_source) - set(sizes))]
    if not sizes:
        raise ConfigError("mixture: at least one source must hold tokens, got none; check what prepare dropped")
    wanted = _wanted(config, tokens_by_source, sizes, warnings)
    weights = {s: w for s, w in _capped(wanted, sizes, total_tokens, config.max_epochs).items() if w > 0.0}
    tokens = _whole(weights, total_tokens)
    epochs = {s: tokens[s] / sizes[s] for s in weights}
    if total_tokens > config.max_epochs * sum(sizes[s] for s in weights):
        warnings.append(
            f"all sources together hold {sum(sizes[s] for s in weights):,} tokens, training draws {total_tokens:,}: "
            f"each is seen {total_tokens / sum(sizes[s] for s in weights):.1f} times, more than max_epochs = "
            f"{config.max_epochs:g}; train fewer steps or add text"
        )
    for s in weights:
        if weights[s] < wanted[s] * (1 - 1e-9):
            warnings.append(f"{s}: capped at {epochs[s]:.2f} epochs, weight {wanted[s]:.4f} became {weights[s]:.4f}")
        if WORTH_REPEATING < epochs[s] <= config.max_epochs:
            warnings.append(f"{s}: seen {epochs[s]:.1f} times; past {WORTH_REPEATING:g} a repeated token is worth less")
    return Mixture(weights=weights, tokens=tokens, epochs=epochs, warnings=tuple(warnings))


def _wanted(
    config: MixtureConfig, known: Mapping[str, int], sizes: Mapping[str, int], warnings: list[str]
) -> dict[str, float]:
    """Shares before the cap, summing to 1."""
    if config.weights is None:
        largest = max(sizes.values())
        raw = {s: (n / largest) ** config.temperature for s, n in sizes.items()}
    else:
        for s, w in config.weights.items():
            if s not in known:
                names = ", ".join(sorted(known))
                raise ConfigError(f"mixture.weights.{s}: must name a source of the lake, which has {names}")
            if w > 0 and s not in sizes:
                raise ConfigError(f"mixture.weights.{s}: this source holds no tokens; give it weight 0 or take it out")
        raw = {s: config.weights[s] for s in sizes if config.weights.get(s, 0.0) > 0.0}
        warnings += [f"{s}: has no weight, so it is left out" for s in sizes if s not in raw]
    largest = max(raw.values())  # first to at most 1: sums of huge weights must not overflow
    raw = {s: w / largest for s, w in raw.items()}
    total = math.fsum(raw.values())
    return {s: w / total for s, w in raw.items() if w / total > 0.0}


def _capped(wanted: Mapping[str, float], sizes: Mapping[str, int], total: int, max_epochs: float) -> dict[str, float]:
    """Shares after the cap: fill sources to it, give what is left to the others, until none overflows."""
    room = {s: max_epochs * sizes[s] / total for s in wanted}
    if math.fsum(room.values()) <= 1.0:
        held = sum(sizes[s] for s in wanted)
        return {s: sizes[s] / held for s in wanted}
    full: set[str] = set()
    while True:
        left = max(1.0 - math.fsum(room[s] for s in full), 0.0)
        open_weight = math.fsum(w for s, w in wanted.items() if s not in full)
        share = {s: room[s] if s in full else wanted[s] / open_weight * left for s in wanted}
        over = {s for s in wanted if s not in full and share[s] > room[s]}
        if not over or len(full) + len(over) == len(wanted):  # the second: rounding, as the rooms sum to more than 1
            return share
        full |= over


def _whole(weights: Mapping[str, float], total: int) -> dict[str, int]:
    """Tokens by source that sum to `total` exactly: floors, and one more for the largest remainders."""
    exact = {s: w * total for s, w in weights.items()}
    tokens = {s: math.floor(x) for s, x in exact.items()}
    left = total - sum(tokens.values())
    by_remainder = sorted(exact, key=lambda s: (tokens[s] - exact[s], s))
    for i in range(abs(left)):  # float sums may be off by one either way
        tokens[by_remainder[i % len(by_remainder)] if left > 0 else max(tokens, key=lambda s: tokens[s])] += (
            1 if left > 0 else -1
        )
    return tokens
