"""`fasttrain run`: the whole journey, from a lake to an exported model and a report."""

import logging
import time

import typer

from fasttrain.cli.eval import run_eval
from fasttrain.cli.export import run_export
from fasttrain.cli.options import Fresh, Out, Print, RecipeArgument, Session, Set, Verbose, open_run
from fasttrain.cli.prepare import run_prepare
from fasttrain.cli.train import run_train

log = logging.getLogger("fasttrain.run")


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("run")(run)


def run(
    recipe: RecipeArgument = "demo",
    out: Out = None,
    assignments: Set = None,
    show: Print = False,
    fresh: Fresh = False,
    verbose: Verbose = False,
) -> None:
    """Prepare, train, evaluate, export and report. Without a recipe: the demo on the lake that ships in the package.

    What is finished is skipped and what was interrupted goes on; the end is the same, byte for byte. Exit status: 0
    done, 1 a gate of the recipe failed, 2 a setting or an input is wrong.
    """
    session = open_run(recipe, out=out, assignments=assignments, show=show, fresh=fresh, verbose=verbose)
    run_session(session)


def run_session(session: Session) -> None:
    """The journey of an opened session."""
    from fasttrain.cli import summary
    from fasttrain.model.hf_config import exported_family
    from fasttrain.train.setup import check_layout

    recipe = session.recipe  # what train and export would refuse is refused before anything is run
    check_layout(recipe.model, recipe.batch, recipe.layout, session.world.size)
    exported_family(recipe.model)
    start = time.monotonic()
    if session.world.is_root:
        log.info("run folder %s, recipe %s, %d rank(s)", session.folder.root, session.recipe.name, session.world.size)
    run_prepare(session)
    summary.predict(session)
    run_train(session)
    result = run_eval(session)
    run_export(session)
    if session.world.is_root:
        from fasttrain.report import page

        summary.record(session, seconds=time.monotonic() - start)
        page.build(session.folder)
        summary.show(session, result)
    session.world.barrier()
    result.check()
