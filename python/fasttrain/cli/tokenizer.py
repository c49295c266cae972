"""`fasttrain tokenizer train | report`."""

from pathlib import Path
from typing import Annotated

import typer

from fasttrain.cli import tokenizer_train
from fasttrain.cli.options import console

_commands = typer.Typer(no_args_is_help=True, help="Train a tokenizer on a recipe's lake; measure tokenizers on text.")


def add(app: typer.Typer) -> None:
    """Register the commands."""
    tokenizer_train.add(_commands)
    app.add_typer(_commands, name="tokenizer")


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
