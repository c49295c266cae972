"""`fasttrain tokenizer report`: how well tokenizers fit a text, and what that costs a model."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasttrain.cli.options import console
from fasttrain.cli.tokenizer_options import MaxBytes, NamedTokenizer, Text, open_tokenizers, read_texts

if TYPE_CHECKING:
    from fasttrain.text.columns import TextColumn

DEFINITIONS = {
    "bytes per token": "UTF-8 bytes of the text / its tokens. A document's end-of-text token is not counted.",
    "tokens a word (fertility)": "Rust et al. 2021. A word is a run of letters and marks with the space before it, the "
    "same for every tokenizer, encoded by itself. Chinese, Japanese and Thai write phrases where others write words.",
    "STRR": "Single-token retention rate (Nayeem et al. 2025): the share of words, as they occur, that are one token.",
    "Renyi efficiency": "log(sum p^2.5) / (1 - 2.5) / log V, p the tokens' frequencies, V the ordinary tokens (Zouhar "
    "et al. 2023). It can be raised by harm (Cognetta et al. 2024): to look at, not to optimise.",
    "premium": "Petrov et al. 2023: a language's tokens / English's for the same content.",
    "partial tokens": "Tokens that are part of a character (no UTF-8 by themselves): of the text, the share of such "
    "tokens; of the vocabulary, their number, the single bytes above 0x7F included.",
    "unreachable": "No text gives the token: its merges never meet, or the pattern cuts through it.",
    "training FLOPs a byte": "FLOPs of a trained token (forward and backward, output matrix included) / bytes per "
    "token.",
    "KV cache": "16 bits a value: 2 L Hkv D values a token, over the text's bytes per token.",
}


def add(commands: typer.Typer) -> None:
    """Register the command."""
    commands.command("report")(report)


def report(
    tokenizers: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]TOKENIZER...",
            help="tokenizer.json files, folders or run folders with one, SentencePiece .model files, or "
            "FILE.tiktoken@PATTERN.",
        ),
    ],
    text: Text,
    parallel: Annotated[
        list[str] | None,
        typer.Option("--parallel", metavar="TEXT", help="The same content in many languages, English among them: one "
                     "document a translation, its `language` named."),
    ] = None,
    terms: Annotated[
        Path | None, typer.Option("--terms", help="Terms, one a line: which are cut into how many pieces.")
    ] = None,
    recipe: Annotated[str, typer.Option("--recipe", help="The model that costs are given for.")] = "lake",
    html: Annotated[Path | None, typer.Option("--html", help="Write a self-contained page with plots.")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="Write all figures for machines.")] = None,
    max_bytes: MaxBytes = 4 << 20,
) -> None:  # fmt: skip
    """Measure tokenizers on the same text: bytes per token, fertility, premium, STRR, Renyi efficiency, health, cost.

    By source and by language, with what each means in training FLOPs, KV cache and embedding parameters.
    """
    from fasttrain.formats import atomic
    from fasttrain.report import tokenizer_page
    from fasttrain.tokenizer import fragmentation

    words = None if terms is None else fragmentation.read_terms(terms)
    data = measure(open_tokenizers(tokenizers), text, parallel or [], words, recipe, max_bytes)
    if json is not None:
        atomic.write_json(json, data)
    if html is not None:
        tokenizer_page.write(html, data)
    for made in tables(data):
        console().print(made)
    for path in (json, html):
        if path is not None:
            typer.echo(f"written: {path}")


def measure(
    tokenizers: list[NamedTokenizer],
    texts: list[str],
    parallel: list[str],
    terms: list[str] | None,
    recipe: str,
    max_bytes: int | None,
) -> dict[str, Any]:
    """All figures of the report as plain data."""
    from fasttrain.cli.recipe import read
    from fasttrain.estimate.tokenizers import tokenizer_cost
    from fasttrain.tokenizer.fragmentation import fragmentation
    from fasttrain.tokenizer.judge import Judge

    resolved, _ = read(recipe)
    judges = [Judge(t.tokenizer) for t in tokenizers]

    def take(column: "TextColumn", keys: list[tuple[str, str]]) -> None:
        for judge in judges:
            judge.add(column, keys)

    read_texts(texts, take, max_bytes=max_bytes)
    premiums = _premiums(tokenizers, judges, parallel)
    rows = []
    for named, judge, premium in zip(tokenizers, judges, premiums):
        figures = judge.figures()
        cost = tokenizer_cost(
            resolved.model, named.tokenizer.vocab_size, figures["total"]["bytes_per_token"], resolved.batch.seq_len
        )
        rows.append({
            "name": named.name, "path": str(named.path), "vocab_size": named.tokenizer.vocab_size,
            "pattern": named.tokenizer.pattern, "fingerprint": named.tokenizer.fingerprint,
            **figures, "premium": premium, "health": _health(named, figures["used_tokens"]),
            "terms": None if terms is None else fragmentation(named.tokenizer, terms), "cost": cost.to_dict(),
        })  # fmt: skip
    model = {"recipe": resolved.name, "seq_len": resolved.batch.seq_len, **resolved.model.to_dict()}
    return {"format": 1, "texts": texts, "model": model, "definitions": DEFINITIONS, "tokenizers": rows}


def _premiums(tokenizers: list[NamedTokenizer], judges: list[Any], parallel: list[str]) -> list[dict[str, Any]]:
    """Of each tokenizer: what is compared, and language -> premium."""
    import numpy as np

    from fasttrain.tokenizer.judge import premiums, rough_premiums

    if not parallel:
        of = (
            "No parallel text was given: tokens a character against English, of different texts. Scripts that hold "
            "more in a character look dearer than they are."
        )
        return [{"of": of, "languages": rough_premiums(judge.figures()["by_language"])} for judge in judges]
    documents: list[list[tuple[str, int, int]]] = [[] for _ in tokenizers]

    def take(column: "TextColumn", keys: list[tuple[str, str]]) -> None:
        sizes = np.diff(column.offsets).tolist()
        for named, rows in zip(tokenizers, documents):
            tokens = np.diff(named.tokenizer.encode_batch(column)[1]).tolist()
            rows += zip([language for _, language in keys], sizes, tokens)

    read_texts(parallel, take, max_bytes=None)
    made = []
    for rows in documents:
        found, fragments = premiums(rows)
        whole = len(rows) - fragments
        of = f"Parallel text ({', '.join(parallel)}): {whole} translations, {fragments} fragments left out."
        made.append({"of": of, "languages": found})
    return made


def _health(named: NamedTokenizer, used: int) -> dict[str, Any]:
    """Counts, and the first tokens that no text gives."""
    from fasttrain.tokenizer.health import health

    found = health(named.tokenizer)
    tokens = named.tokenizer.vocabulary.tokens
    return {
        "ordinary": found.ordinary, "used": used, "unused": found.ordinary - used,
        "unreachable": len(found.unreachable), "partial": len(found.partial), "repeated": len(found.repeated),
        "special": found.special, "holes": found.holes,
        "unreachable_ids": found.unreachable,
        "unreachable_examples": [tokens[i].decode("utf-8", "replace") for i in found.unreachable[:20]],
    }  # fmt: skip


def tables(data: dict[str, Any]) -> list[Any]:
    """The terminal's tables: fit by source, languages, terms, health and cost."""
    from fasttrain.cli import tokenizer_tables

    made = [tokenizer_tables.fit(data), tokenizer_tables.premiums(data), tokenizer_tables.terms(data),
            tokenizer_tables.cost(data)]  # fmt: skip
    return [table for table in made if table is not None]
