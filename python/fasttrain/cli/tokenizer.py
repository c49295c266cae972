"""`fasttrain tokenizer train | report`."""

from pathlib import Path
from typing import Annotated

import typer

from fasttrain.cli.options import Fresh, Out, Print, RecipeArgument, Set, Verbose, console, open_run

_commands = typer.Typer(no_args_is_help=True, help="Train a tokenizer on a recipe's lake; measure tokenizers on text.")


def add(app: typer.Typer) -> None:
    """Register the commands."""
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


@_commands.command("report")
def report(
    tokenizers: Annotated[list[Path], typer.Argument(help="tokenizer.json files, or run folders.")],
    text: Annotated[list[Path], typer.Option("--text", "-t", help="UTF-8 text files to measure on; repeatable.")],
) -> None:
    """Bytes per token, fertility (tokens a word) and the share of words that are one token, on the same text."""
    import numpy as np
    from rich.table import Table

    from fasttrain.core.errors import ConfigError
    from fasttrain.formats.run_folder import RunFolder
    from fasttrain.text import columns
    from fasttrain.tokenizer import measure
    from fasttrain.tokenizer.tokenizer import Tokenizer

    missing = [str(path) for path in [*tokenizers, *text] if not path.exists()]
    if missing:
        raise ConfigError(f"tokenizer report: no such file: {', '.join(missing)}")
    table = Table("tokenizer", "text", "bytes/token", "tokens/word", "words of one token", box=None)
    for path in tokenizers:
        tokenizer = Tokenizer.load(RunFolder(path).tokenizer if path.is_dir() else path)
        for file in text:
            column = columns.from_texts([file.read_text(encoding="utf-8", errors="replace")])
            found = measure.summary(measure.measure(tokenizer, column, np.zeros(1, np.int64), 1)[0])
            figures = [found["bytes_per_token"], found["fertility"], found["single_token_words"]]
            table.add_row(str(path), file.name, *("-" if f is None else f"{f:.3f}" for f in figures))
    console().print(table)
