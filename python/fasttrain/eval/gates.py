"""Gates: what a run must reach. A failed gate leaves every result in place and ends the command with status 1."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fasttrain.core.errors import ConfigError
from fasttrain.eval.config import GateConfig
from fasttrain.eval.score import ALL, Score


@dataclass(frozen=True, kw_only=True)
class GateResult:
    """One gate on one source."""

    name: str  # "bpb of all <= 2.5", "bpb of code <= bigram"
    source: str
    metric: str
    value: float
    bound: float
    passed: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def judge(
    gates: Sequence[GateConfig], scores: Mapping[str, Score], baselines: Mapping[str, Mapping[str, Score]]
) -> tuple[GateResult, ...]:
    """Judge every gate. A value that is not a number fails.

    Raises: ConfigError: a gate names a source that the probe set lacks, or a baseline that was not measured.
    """
    results = []
    for index, gate in enumerate(gates):
        where = f"eval.gates.{index}"
        sources = sorted(set(scores) - {ALL}) if gate.source == "each" else [gate.source]
        for source in sources:
            if source not in scores:
                raise ConfigError(
                    f"{where}.source: the probe set has no source {source!r}; choose from {sorted(scores)} or 'each'"
                )
            value = _value(scores[source], gate.metric)
            if gate.max is not None:
                bound, text = gate.max, f"{gate.max:g}"
            else:
                assert gate.beats is not None
                if gate.beats not in baselines:
                    raise ConfigError(f"{where}.beats: {gate.beats!r} is not measured; add it to eval.baselines")
                bound = _value(baselines[gate.beats][source], gate.metric) - gate.by
                text = gate.beats + (f" - {gate.by:g}" if gate.by else "")
            name = f"{gate.metric} of {source} <= {text}"
            results.append(
                GateResult(name=name, source=source, metric=gate.metric, value=value, bound=bound,
                           passed=value <= bound)
            )  # fmt: skip
    return tuple(results)


def _value(score: Score, metric: str) -> float:
    value = score.bpb if metric == "bpb" else score.perplexity
    return float("nan") if value is None else value
