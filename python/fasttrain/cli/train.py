"""`fasttrain train RUN`: token shards -> checkpoints."""

from pathlib import Path
from typing import Annotated

import typer

from fasttrain.cli.options import RunArgument, Session, Set, Verbose, reopen


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("train")(train)


def train(
    run: RunArgument,
    assignments: Set = None,
    profile: Annotated[
        int, typer.Option("--profile", metavar="STEPS", min=0, help="Profile so many steps: RUN/train/profile.")
    ] = 0,
    verbose: Verbose = False,
) -> None:
    """Train on a prepared run folder, or go on where an interrupted training was.

    `--set layout.tp=2` or `--set train.threads=4` change how the machine is used, `--set guard.policy=skip` what the
    guard does from here on; what would make it another run is refused: it belongs to another run folder.
    """
    session = reopen(run, assignments, verbose=verbose)
    run_train(session, profile=profile)
    if session.world.is_root:
        typer.echo(f"trained: {session.folder.checkpoints}")


def run_train(session: Session, *, profile: int = 0) -> None:
    """The training journey of a session. Exits when the run was asked to stop: everything is saved."""
    from fasttrain.formats import atomic, manifest
    from fasttrain.mixture.plan import Mixture
    from fasttrain.train import loop

    recipe, folder = session.recipe, session.folder
    shards = manifest.read(folder.shards)
    result = loop.run(
        folder,
        **recipe.training,
        mixture=Mixture.load(manifest.read(folder.stage("mixture")).extra["mixture"]),
        world=session.world,
        fingerprints={"data": shards.content_fingerprint, "recipe": recipe.identity_fingerprint()},
        base=Path(atomic.read_json(folder.base)["base"]) if folder.base.exists() else session.base,
        profile=profile,
    )
    if not result.is_finished:
        if session.world.is_root:
            typer.echo(f"stopped at step {result.step} of {result.num_steps}; the same command goes on from there")
        raise typer.Exit(0)
