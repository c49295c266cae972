"""`fasttrain tokenizer train | extend | report | convert`."""

import importlib

import typer

from fasttrain.cli.options import Fresh, Out, Print, RecipeArgument, Set, Verbose, open_run

# One file each, cli/tokenizer_<name>.py, in the order of --help.
_SUBCOMMANDS = ("extend", "report", "convert")
_commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Train a tokenizer on a recipe's lake, extend one by the terms of a domain, measure tokenizers on any text, "
    "convert their files.",
)


def add(app: typer.Typer) -> None:
    """Register the commands."""
    for name in _SUBCOMMANDS:
        importlib.import_module(f"fasttrain.cli.tokenizer_{name}").add(_commands)
    app.add_typer(_commands, name="tokenizer")


@_commands.command("train")
def train(
    recipe: RecipeArgument = "demo",
    out: Out = None,
    assignments: Set = None,
    show: Print = False,
    fresh: Fresh = False,
    verbose: Verbose = False,
) -> None:
    """Train the recipe's byte-level BPE on its training documents; unfinished stages before it are run first."""
    from fasttrain.cli.prepare import run_prepare
    from fasttrain.prepare.journey import STAGES

    session = open_run(recipe, out=out, assignments=assignments, show=show, fresh=fresh, verbose=verbose)
    for name in STAGES[: STAGES.index("tokenizer") + 1]:
        run_prepare(session, only=name)
    if session.world.is_root:
        typer.echo(f"tokenizer: {session.folder.tokenizer}")
