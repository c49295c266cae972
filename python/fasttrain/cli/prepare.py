"""`fasttrain prepare`: lake -> token shards."""

from typing import Annotated

import typer

from fasttrain.cli.options import Fresh, Out, Print, RecipeArgument, Session, Set, Verbose, open_run


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("prepare")(prepare)


def prepare(
    recipe: RecipeArgument = "demo",
    only: Annotated[str | None, typer.Option("--only", metavar="STAGE", help="Run this stage alone.")] = None,
    start: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Run this stage and the later ones.")
    ] = None,
    out: Out = None,
    assignments: Set = None,
    show: Print = False,
    fresh: Fresh = False,
    verbose: Verbose = False,
) -> None:
    """Read, filter, deduplicate, cut repeats, decontaminate, split, tokenise and mix. Finished stages are skipped.

    Stages in order: corpus, filter, dedup, passages, decontam, split, tokenizer, shards, mixture.
    """
    session = open_run(recipe, out=out, assignments=assignments, show=show, fresh=fresh, verbose=verbose)
    run_prepare(session, only=only, start=start)
    if session.world.is_root:
        typer.echo(f"prepared: {session.folder.root / 'prepare'}")


def run_prepare(session: Session, *, only: str | None = None, start: str | None = None) -> None:
    """The prepare journey of a session."""
    from fasttrain.audit import datasheet
    from fasttrain.formats import atomic
    from fasttrain.prepare import journey

    recipe = session.recipe
    if session.world.is_root:
        atomic.write_json(session.folder.base, {"base": str(session.base.resolve())})
    done = journey.run(
        session.folder,
        recipe.prepare,
        base=session.base,
        total_tokens=recipe.batch.num_tokens(recipe.train.resolve_steps(recipe.batch)),
        world=session.world,
        only=only,
        start=start,
    )
    if session.world.is_root and "mixture" in done:
        datasheet.write(session.folder)
    session.world.barrier()
