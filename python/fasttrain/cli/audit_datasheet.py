"""`fasttrain audit datasheet RUN`: what the corpus is made of and what was done to it."""

import typer

from fasttrain.cli.options import RunArgument, reopen


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("datasheet")(datasheet)


def datasheet(run: RunArgument) -> None:
    """Write datasheet.md and datasheet.json into the run folder and print the former.

    Sources, licences, dates, rules, counts at each stage, languages, tokens, personal data, duplicates, benchmarks.
    """
    from fasttrain.audit import datasheet as sheets

    session = reopen(run)
    if session.world.is_root:
        typer.echo(sheets.markdown(sheets.write(session.folder)))
