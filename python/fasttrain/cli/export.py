"""`fasttrain export RUN`: checkpoint -> Hugging Face folder."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from fasttrain.cli.options import RunArgument, Session, reopen

Weights = Literal["last", "ema"]


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("export")(export)


def export(
    run: RunArgument,
    to: Annotated[Path | None, typer.Option("--to", help="Folder to write; RUN/export when not given.")] = None,
    checkpoint: Annotated[str, typer.Option("--checkpoint", help="newest, best, or a step number.")] = "newest",
    weights: Annotated[Weights, typer.Option("--weights", help="ema: the average of train.ema_decay.")] = "last",
) -> None:
    """Write safetensors, config.json and tokenizer.json: a folder that transformers loads offline."""
    session = reopen(run)
    path = run_export(session, to=to, checkpoint=checkpoint, weights=weights)
    if session.world.is_root:
        typer.echo(f"exported: {path}")


def run_export(
    session: Session, *, to: Path | None = None, checkpoint: str = "newest", weights: Weights = "last"
) -> Path:
    """Export on rank 0 while the others wait."""
    from fasttrain.checkpoint import store
    from fasttrain.export import huggingface

    folder = to or session.folder.export
    if session.world.is_root:
        found = store.named(session.folder.checkpoints, checkpoint)
        huggingface.to_huggingface(found, session.folder.tokenizer, folder, weights=weights)
    session.world.barrier()
    return folder
