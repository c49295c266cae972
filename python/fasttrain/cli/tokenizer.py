"""`fasttrain tokenizer train | extend | report | convert | encode`."""

import importlib

import typer

# One file each, cli/tokenizer_<name>.py, in the order of --help.
_SUBCOMMANDS = ("train", "extend", "report", "convert", "encode")
_commands = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Train a tokenizer on a recipe's lake, extend one by the terms of a domain, measure tokenizers on any text, "
    "convert their files, encode files into token shards.",
)


def add(app: typer.Typer) -> None:
    """Register the commands."""
    for name in _SUBCOMMANDS:
        importlib.import_module(f"fasttrain.cli.tokenizer_{name}").add(_commands)
    app.add_typer(_commands, name="tokenizer")
