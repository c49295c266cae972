"""What `fasttrain run` says at its end: where things lie, the main figures, and how far the estimate was off."""

from typing import TYPE_CHECKING

from rich.table import Table

from fasttrain.cli.options import Session, console
from fasttrain.formats import atomic
from fasttrain.monitor.metrics import read_lines

if TYPE_CHECKING:
    from fasttrain.eval.result import EvalResult


def predict(session: Session) -> None:
    """Estimate the training and keep it for the comparison at the end; a run that goes on keeps its first estimate."""
    from fasttrain.cli.estimate import estimate_recipe
    from fasttrain.estimate import estimate as cost

    if session.world.bcast(cost.load(session.folder) is not None if session.world.is_root else None):
        return
    found = estimate_recipe(session.recipe, session.world, ranks=session.world.size)
    if session.world.is_root:
        cost.save(session.folder, found)


def record(session: Session, *, seconds: float) -> None:
    """Write run.json: the wall time of this start of the command and the ranks it had."""
    path = session.folder.root / "run.json"
    starts = atomic.read_json(path)["starts"] if path.exists() else []
    starts.append({"seconds": round(seconds, 1), "ranks": session.world.size})
    atomic.write_json(path, {"recipe": session.recipe.name, "starts": starts})


def show(session: Session, result: "EvalResult") -> None:
    """Print the summary on rank 0."""
    from fasttrain.estimate import estimate as cost
    from fasttrain.estimate import table

    folder, screen = session.folder, console()
    steps = [line for line in read_lines(folder.metrics) if "step_s" in line]  # events of the guard have a loss too
    figures = Table(box=None, show_header=False, pad_edge=False)
    if steps:
        last = steps[-1]
        loss = last["loss"] if isinstance(last["loss"], str) else f"{last['loss']:.3f}"  # "nan" of a skipped step
        figures.add_row("training", f"{last['step']:,} steps, {last['tokens']:,} tokens, loss {loss}")
    score = result.scores["all"]
    figures.add_row("probe set", f"{score.bpb:.4f} bits per byte, perplexity {score.perplexity or 0:.1f} per token")
    for name, scores in result.baselines.items():
        figures.add_row(f"  {name}", f"{scores['all'].bpb:.4f} bits per byte")
    for gate in result.gates:
        figures.add_row(
            "gate", f"{gate.name}: {'passed' if gate.passed else 'FAILED'} ({gate.value:.4f}, bound {gate.bound:.4f})"
        )
    screen.print(figures)
    for label, path in (("model", folder.export), ("report", folder.report)):
        screen.print(f"{label:<11}{path}", highlight=False)  # not in the table, which would break a path to be copied
    predicted = cost.load(folder)
    if predicted is not None and steps:
        errors = cost.error(predicted, [s["step_s"] for s in steps], max(s["memory_bytes"] for s in steps))
        screen.print(table.format_error(errors))
