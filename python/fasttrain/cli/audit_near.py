"""`fasttrain audit near RUN`: documents like a text."""

from pathlib import Path
from typing import Annotated

import typer

from fasttrain.cli.options import RunArgument, console, reopen
from fasttrain.core.errors import ConfigError


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("near")(near)


def near(
    run: RunArgument,
    text: Annotated[str | None, typer.Option("--text", help="The text.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="A UTF-8 file that holds the text.")] = None,
    threshold: Annotated[float, typer.Option("--threshold", help="Least Jaccard similarity or containment.")] = 0.5,
    limit: Annotated[int, typer.Option("--limit", help="At most so many documents.")] = 20,
) -> None:
    """Find documents like a text in everything that was read: exact Jaccard and containment of word 5-grams."""
    from fasttrain.audit import table
    from fasttrain.audit.near import near as search

    if (text is None) == (file is None):
        raise ConfigError("audit near: give --text or --file, one of them")
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"audit near: {file} must be a readable UTF-8 file, got {error}") from None
    session = reopen(run)
    if session.world.is_root and text is not None:
        found = search(session.folder, text, threshold=threshold, limit=limit)
        console().print(table.format_near(found))
