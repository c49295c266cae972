"""`fasttrain audit forget RUN`: what a removal request means, and its carrying out."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrain.cli.options import RunArgument, Session, reopen
from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic


def add(app: typer.Typer) -> None:
    """Register the command."""
    app.command("forget")(forget)


def forget(
    run: RunArgument,
    doc_id: Annotated[list[str] | None, typer.Option("--doc-id", help="32 hex digits; repeatable.")] = None,
    url: Annotated[
        list[str] | None, typer.Option("--url", "--origin", help="A whole URL, or path#record; repeatable.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option("--text", help="A text, or a passage of it; repeatable.")] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help='One doc_id, URL or text a line, in UTF-8; a line in "quotes" is a JSON string.'),
    ] = None,
    threshold: Annotated[
        float, typer.Option("--threshold", help="A copy has this Jaccard similarity, or holds this share of the text.")
    ] = 0.7,
    limit: Annotated[int, typer.Option("--limit", help="Refuse a request for more documents.")] = 1000,
    base: Annotated[
        Path | None, typer.Option("--base", help="The recipe's folder, when it has moved since `prepare`.")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Carry it out; without it nothing changes.")] = False,
) -> None:
    """Find documents and their copies in lake, outputs, shards and training steps; with --apply, take them out.

    --apply puts them onto the removal list (removals/list.jsonl in the run folder, and the recipe's
    `corpus.removals`), which every later `prepare` obeys, and makes again only what held them. What was found and what
    was done is written to removals/, without texts or URLs.
    """
    from fasttrain.audit import forget as requests
    from fasttrain.audit import forget_report

    keys = [requests.Key("id", v) for v in doc_id or ()]
    keys += [requests.Key("origin", v) for v in url or ()]
    keys += [requests.Key("text", v) for v in text or ()]
    keys += [requests.Key("auto", v) for v in _lines(file)] if file else []
    session = reopen(run)
    if base or session.folder.base.exists():
        where = base or Path(atomic.read_json(session.folder.base)["base"])
        session = Session(session.recipe, where, session.folder, session.world)

    def search() -> Any:
        ngram = session.recipe.dedup.ngram
        return requests.find(session.folder, keys, threshold=threshold, ngram=ngram, limit=limit)

    found = session.world.bcast(search() if session.world.is_root else None)
    report = forget_report.Report(date=forget_report.now(), applied=False, request=found)
    if apply and found.documents:
        report = carry_out(session, report)
    if session.world.is_root:
        path = forget_report.write(session.folder, report)
        typer.echo(forget_report.markdown(report))
        typer.echo(f"report: {path}")


def carry_out(session: Session, report: Any) -> Any:
    """Put the documents onto the lists, prepare again, check that they are gone; the report of it. On every rank."""
    from fasttrain.audit import rebuilt
    from fasttrain.cli.prepare import run_prepare
    from fasttrain.corpus import lake, removals

    folder, corpus = session.folder, session.recipe.corpus
    lists = [folder.removals / "list.jsonl", session.base / corpus.removals]
    before: Any = None
    if session.world.is_root:
        lake.plan(corpus, session.base)  # a wrong folder is found before anything is written
        for path in lists:
            removals.add(path, report.request.removals())
        before = rebuilt.snapshot(folder)
    for stage in [name for name in rebuilt.PREPARE if folder.stage(name).is_dir()]:
        run_prepare(session, only=stage)
    if not session.world.is_root:
        return report
    rebuilt.check(folder, removals.read(lists), [d.names for d in report.request.documents])
    if folder.report.exists():
        from fasttrain.report import page

        page.build(folder)  # the old one showed samples of texts
    made = rebuilt.compare(before, rebuilt.snapshot(folder))
    return report.model_copy(update={"applied": True, "lists": tuple(map(str, lists)), "rebuilt": made})


def _lines(file: Path) -> list[str]:
    try:
        lines = [line for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]
        return [str(json.loads(line)) if line.startswith('"') else line.rstrip("\r") for line in lines]
    except (OSError, ValueError) as error:
        raise ConfigError(f"audit forget: {file} must be a readable UTF-8 file of such lines, got {error}") from None
