"""`fasttrain audit RUN`: what became of a document, what a step saw, what was trained on; and its subcommands."""

import importlib
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from fasttrain.cli.options import RunArgument, console, reopen
from fasttrain.core.errors import ConfigError

# One file each, cli/audit_<name>.py, in the order of --help.
_SUBCOMMANDS = ("near", "benchmark", "forget", "datasheet")
_DEFAULT = "ask"


class _AskByDefault(TyperGroup):
    """`audit RUN ...` is `audit ask RUN ...`: what is no subcommand's name is a question about a run."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [_DEFAULT, *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def add(app: typer.Typer) -> None:
    """Register the command and its subcommands."""
    group = typer.Typer(
        cls=_AskByDefault,
        no_args_is_help=True,
        rich_markup_mode="markdown",
        help="Answer from the ledger: every decision about a document, what a step saw, what was trained on. "
        "`fasttrain audit RUN ...` is short for `fasttrain audit ask RUN ...`.",
    )
    group.command(_DEFAULT)(ask)
    for name in _SUBCOMMANDS:
        importlib.import_module(f"fasttrain.cli.audit_{name}").add(group)
    app.add_typer(group, name="audit")


def ask(
    run: RunArgument,
    text: Annotated[str | None, typer.Option("--text", help="A document's text, or a passage of it.")] = None,
    url: Annotated[str | None, typer.Option("--url", "--origin", help="A URL, path#record, or a part of one.")] = None,
    doc_id: Annotated[str | None, typer.Option("--doc-id", help="32 hex digits.")] = None,
    step: Annotated[int | None, typer.Option("--step", help="A training step: the documents of its batch.")] = None,
    sql: Annotated[str | None, typer.Option("--sql", help="DuckDB SQL over the views ledger and documents.")] = None,
    limit: Annotated[int, typer.Option("--limit", help="At most so many documents or rows.")] = 20,
) -> None:
    """Answer from the ledger: every decision about a document with its evidence, the documents of a training step.

    Without a question: what was trained on, by source and licence.
    """

    from fasttrain.audit import document, ledger, table, trained

    asked = [name for name, value in (("--text", text), ("--url", url), ("--doc-id", doc_id), ("--step", step),
                                      ("--sql", sql)) if value is not None]  # fmt: skip
    if len(asked) > 1:
        raise ConfigError(f"audit: one question at a time, got {' and '.join(asked)}")
    session = reopen(run)
    if not session.world.is_root:
        return
    screen = console()
    if sql is not None:
        screen.print(table.format_rows(ledger.sql(session.folder, sql, limit=limit)))
    elif step is not None:
        from fasttrain.audit import step as steps

        screen.print(steps.format_step(steps.documents_of(session.folder, step, limit=limit)))
    elif text is not None:
        screen.print(table.format_trails(document.find(session.folder, text, by="text", limit=limit)))
    elif url is not None:
        screen.print(table.format_trails(document.find(session.folder, url, by="origin", limit=limit)))
    elif doc_id is not None:
        screen.print(table.format_trails(document.find(session.folder, doc_id, by="id", limit=limit)))
    else:
        screen.print(table.format_trained_on(trained.trained_on(session.folder)))
