"""`fasttrain audit benchmark RUN NAME`: which items of a benchmark the corpus holds, and where."""

from typing import Annotated

import typer

from fasttrain.cli.options import RunArgument, console, reopen


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("benchmark")(benchmark)


def benchmark(
    run: RunArgument,
    name: Annotated[str, typer.Argument(help="The benchmark's name in the recipe or the registry.")],
    limit: Annotated[int, typer.Option("--limit", help="At most so many places.")] = 100,
) -> None:
    """Say which items of a benchmark were in the corpus, in which documents, and whether those were kept or removed.

    Names the files of clean and dirty items, on which a score can be reported apart.
    """
    from fasttrain.audit import benchmark as benchmarks
    from fasttrain.audit import table

    session = reopen(run)
    if session.world.is_root:
        console().print(table.format_benchmark(benchmarks.benchmark(session.folder, name, limit=limit)))
