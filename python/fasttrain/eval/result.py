"""What an evaluation found: plain data in eval/eval.json, a table on the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from fasttrain.core.errors import GateError
from fasttrain.eval.baselines import METHODS
from fasttrain.eval.gates import GateResult
from fasttrain.eval.generate import Generation
from fasttrain.eval.score import ALL, Score

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class EvalResult:
    """Scores of one checkpoint on one probe set."""

    checkpoint: dict[str, Any]  # path, step, tokens
    probe: dict[str, Any]  # fingerprint, documents, tokens, bytes, context_tokens, overlap_tokens
    scores: dict[str, Score]  # by source, and "all"
    baselines: dict[str, dict[str, Score]]  # baseline -> by source, and "all"
    generations: tuple[Generation, ...]
    gates: tuple[GateResult, ...]
    seconds: float
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether every gate holds."""
        return all(g.passed for g in self.gates)

    def check(self) -> None:
        """Raise GateError naming the gates that failed, with their values."""
        failed = [f"{g.name} (got {g.value:.4f}, bound {g.bound:.4f})" for g in self.gates if not g.passed]
        if failed:
            raise GateError(f"eval: {len(failed)} of {len(self.gates)} gates failed: {'; '.join(failed)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as eval.json holds it."""
        return {
            "format": FORMAT,
            "checkpoint": self.checkpoint,
            "probe": self.probe,
            "scores": _scores(self.scores),
            "baselines": {name: _scores(s) for name, s in self.baselines.items()},
            "baseline_methods": {name: METHODS[name] for name in self.baselines},
            "generations": [g.to_dict() for g in self.generations],
            "gates": [g.to_dict() for g in self.gates],
            "passed": self.passed,
            "seconds": self.seconds,
            "settings": self.settings,
        }


def format_result(result: EvalResult) -> RenderableType:
    """Scores beside baselines, generations, gates."""
    parts: list[RenderableType] = [_score_table(result)]
    for generation in result.generations:
        parts.append(Text.assemble("\n", (generation.prompt, "bold"), generation.text))
    if result.gates:
        parts.append(Text())
    for gate in result.gates:
        mark = ("pass", "green") if gate.passed else ("FAIL", "bold red")
        parts.append(Text.assemble(mark, f"  {gate.name}: {gate.value:.4f} against {gate.bound:.4f}"))
    return Group(*parts)


def format_generations(generations: tuple[Generation, ...] | list[Generation]) -> RenderableType:
    """Prompts in bold with what followed."""
    return Group(*(Text.assemble((g.prompt, "bold"), g.text, "\n") for g in generations))


def _score_table(result: EvalResult) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("source", overflow="fold")
    for name in ("documents", "tokens", "bytes", "perplexity", "bpb", *(f"{b} bpb" for b in result.baselines)):
        table.add_column(name, justify="right")
    for source in [*sorted(set(result.scores) - {ALL}), ALL]:
        score = result.scores[source]
        ppl = score.perplexity
        table.add_row(
            Text(source), f"{score.documents:,}", f"{score.tokens:,}", f"{score.num_bytes:,}",
            "" if ppl is None else f"{ppl:,.2f}", f"{score.bpb:.4f}",
            *(f"{scores[source].bpb:.4f}" for scores in result.baselines.values()),
        )  # fmt: skip
    return table


def _scores(scores: Mapping[str, Score]) -> dict[str, dict[str, Any]]:
    return {source: score.to_dict() for source, score in scores.items()}
