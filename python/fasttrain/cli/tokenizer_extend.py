"""`fasttrain tokenizer extend`: new tokens for the words of a domain, every old id kept."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fasttrain.cli.options import console
from fasttrain.cli.tokenizer_options import NamedTokenizer, open_tokenizer, read_texts
from fasttrain.core.errors import ConfigError

if TYPE_CHECKING:
    from fasttrain.text.columns import TextColumn
    from fasttrain.tokenizer.bpe_train import WordCounter
    from fasttrain.tokenizer.extend import Extension

PIECES, REPORT = "old_pieces.json", "extension.json"
_SHOWN = 12


def add(commands: typer.Typer) -> None:
    """Register the command."""
    commands.command("extend")(extend)


def extend(
    tokenizer: Annotated[str, typer.Argument(metavar="TOKENIZER", help="tokenizer.json, or a run folder with one.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for tokenizer.json, old_pieces.json, extension.json.")],
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="[NAME=]TEXT", help="Text of the domain, to learn from; see `report`."),
    ] = None,
    terms: Annotated[
        Path | None, typer.Option("--terms", help="Terms of the domain, one a line, to learn from as well.")
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="[NAME=]TEXT", help="Other text, not learnt from: how much of it changes."),
    ] = None,
    num_tokens: Annotated[int, typer.Option("--tokens", min=1, help="New tokens, at least.")] = 512,
    multiple: Annotated[int, typer.Option("--multiple", min=1, help="Round the size up to a multiple of this.")] = 64,
    min_frequency: Annotated[int, typer.Option("--min-frequency", min=1, help="A rarer pair does not merge.")] = 4,
    term_weight: Annotated[
        int, typer.Option("--term-weight", min=1, help="Occurrences that a term of the list counts for.")
    ] = 100,
    max_spaces: Annotated[
        int, typer.Option("--max-spaces", min=1, help="Of superwords: no new token holds more spaces.")
    ] = 4,
    prune: Annotated[bool, typer.Option(help="Give ids of tokens that no text can give to new tokens.")] = True,
    recipe: Annotated[str, typer.Option("--recipe", help="The model that parameters are counted for.")] = "lake",
    max_bytes: Annotated[int, typer.Option("--max-bytes", min=1, help="Read about so many bytes a text.")] = 64 << 20,
) -> None:
    """Continue BPE training on text or terms of a domain; say what it saves, what it costs, and what text changes.

    Every old id and every merge that can apply stays; the new ids of any text, each put back into its old pieces, are
    its old ids. old_pieces.json holds these pieces: `train.init_pieces` starts new embedding rows from their mean.
    """
    from fasttrain.formats import atomic
    from fasttrain.tokenizer.extend import extend as run
    from fasttrain.tokenizer.fragmentation import read_terms

    if not text and terms is None:
        raise ConfigError("tokenizer extend: there is nothing to learn from; give --text, --terms or both")
    opened = open_tokenizer(tokenizer)
    words = None if terms is None else read_terms(terms)
    learnt, kept = count_words(opened, text or [], max_bytes), count_words(opened, keep or [], max_bytes)
    counter = _joined(opened, list(learnt.values()), words, term_weight)
    made = run(
        opened.bpe, *counter.words(), num_tokens=num_tokens, min_frequency=min_frequency,
        pad_to_multiple=multiple, prune=prune, max_spaces=max_spaces,
    )  # fmt: skip
    data = figures(opened, made, counter, learnt, kept, words, recipe)
    out.mkdir(parents=True, exist_ok=True)
    made.tokenizer.save(out)
    made.pieces.write(out / PIECES)
    atomic.write_json(out / REPORT, data)
    _print(data)
    typer.echo(f"written: {out / 'tokenizer.json'}, {PIECES}, {REPORT}")


def count_words(opened: NamedTokenizer, texts: list[str], max_bytes: int) -> dict[str, "WordCounter"]:
    """The pretokens of each source, counted."""
    from fasttrain.comm.threads import threads_of_rank
    from fasttrain.text.columns import from_texts
    from fasttrain.tokenizer.bpe_train import WordCounter

    found: dict[str, WordCounter] = {}

    def take(column: "TextColumn", keys: list[tuple[str, str]]) -> None:
        for source in dict.fromkeys(source for source, _ in keys):
            mine = [n for n, key in enumerate(keys) if key[0] == source]
            part = column if len(mine) == len(keys) else from_texts([column[n] for n in mine])
            counter = found.setdefault(source, WordCounter(opened.bpe.pattern))
            counter.add(part, threads=threads_of_rank())

    read_texts(texts, take, max_bytes=max_bytes)
    return found


def _joined(
    opened: NamedTokenizer, counters: list["WordCounter"], terms: list[str] | None, weight: int
) -> "WordCounter":
    from fasttrain.tokenizer.bpe_train import WordCounter
    from fasttrain.tokenizer.extend import count_terms

    joined = WordCounter(opened.bpe.pattern)
    for counter in counters:
        joined.add_counted(*counter.words())
    if terms is not None:
        count_terms(terms, joined, weight)
    return joined


def figures(
    opened: NamedTokenizer,
    made: "Extension",
    counter: "WordCounter",
    learnt: dict[str, "WordCounter"],
    kept: dict[str, "WordCounter"],
    terms: list[str] | None,
    recipe: str,
) -> dict[str, Any]:
    """All that the extension did, as plain data."""
    from fasttrain.cli.recipe import read
    from fasttrain.model.cost import num_params
    from fasttrain.tokenizer.extend_effects import effect, mined, total
    from fasttrain.tokenizer.fragmentation import fragmentation

    old = opened.bpe
    model = read(recipe)[0].model
    before, after = (num_params(model.model_copy(update={"vocab_size": t.vocab_size})) for t in (old, made.tokenizer))
    effects = {name: effect(old, made, c.words()) for name, c in learnt.items()}
    others = {name: effect(old, made, c.words()) for name, c in kept.items()}
    return {
        "format": 1,
        "tokenizer": str(opened.path),
        "old_vocab_size": old.vocab_size,
        "vocab_size": made.tokenizer.vocab_size,
        "new_tokens": len(made.merges),
        "reused_ids": made.reused,
        "reserved": made.reserved,
        "parameters": {
            "recipe": recipe, "added": after.total - before.total, "embedding": after.embedding, "total": after.total,
        },
        "learnt_from": {name: e.to_dict() for name, e in effects.items()},
        "kept": {name: e.to_dict() for name, e in others.items()},
        "total": total(effects).to_dict(),
        "terms": None if terms is None else {
            "old": fragmentation(old, terms), "new": fragmentation(made.tokenizer, terms),
        },
        "mined": mined(old, made, counter.words()),
        "tokens": [
            {"id": i, "text": made.tokenizer.vocabulary.tokens[i].decode("utf-8", "replace"),
             "pieces": made.pieces.pieces[i]}
            for _, _, i in made.merges
        ],
    }  # fmt: skip


def _print(data: dict[str, Any]) -> None:
    from rich.table import Table

    reused = f", {len(data['reused_ids']):,} of them under ids that no text could give" if data["reused_ids"] else ""
    cost = data["parameters"]
    typer.echo(
        f"{data['old_vocab_size']:,} -> {data['vocab_size']:,} ids: {data['new_tokens']:,} new tokens{reused}, "
        f"{data['reserved']:,} reserved; {cost['added']:,} parameters more (recipe {cost['recipe']}: {cost['total']:,})"
    )
    table = Table("text", box=None, pad_edge=False)
    for name in ("MB", "tokens before", "after", "saved", "pretokens changed"):
        table.add_column(name, justify="right")
    rows = [*data["learnt_from"].items(), *((f"{name} (kept)", row) for name, row in data["kept"].items())]
    for name, row in rows:
        table.add_row(
            name, f"{row['bytes'] / 1e6:.1f}", f"{row['old_tokens']:,}", f"{row['new_tokens']:,}",
            f"{row['saved']:.2%}", f"{row['changed']:.2%}",
        )  # fmt: skip
    console().print(table)
    if data["terms"]:
        old, new = data["terms"]["old"], data["terms"]["new"]
        typer.echo(
            f"{old['terms']:,} terms: one token {old['single']:.1%} -> {new['single']:.1%}, mean pieces "
            f"{old['mean_pieces']:.2f} -> {new['mean_pieces']:.2f}"
        )
    top = ", ".join(f"{m['text'].strip()} {m['old_tokens']}>{m['new_tokens']}" for m in data["mined"][:_SHOWN])
    typer.echo(f"words that save the most: {top}")
    typer.echo("every pretoken above was encoded both ways: the new ids are the old pieces, one by one")
