"""`fasttrain tokenizer convert`: one tokenizer file from another, and whether the ids stay the same."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fasttrain.cli.tokenizer_options import MaxBytes, open_tokenizer, read_texts
from fasttrain.core.errors import ConfigError

if TYPE_CHECKING:
    from fasttrain.text.columns import TextColumn
    from fasttrain.tokenizer.tokenizer import AnyTokenizer


def add(commands: typer.Typer) -> None:
    """Register the command."""
    commands.command("convert")(convert)


def convert(
    source: Annotated[
        str,
        typer.Argument(metavar="TOKENIZER", help="tokenizer.json, FILE.tiktoken@PATTERN or a SentencePiece .model."),
    ],
    out: Annotated[Path, typer.Argument(help="The file to write: .json or .tiktoken.")],
    special: Annotated[
        list[str] | None,
        typer.Option("--special", metavar="NAME=ID", help="A special token of a .tiktoken file, which holds none."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", "-t", metavar="TEXT", help="Count on this text how many tokens differ; needed where "
                     "the two formats cannot be shown to mean the same."),
    ] = None,
    max_bytes: MaxBytes = 16 << 20,
) -> None:  # fmt: skip
    """Convert between tokenizer.json (a list of merges) and .tiktoken (ranks), or a SentencePiece .model to
    tokenizer.json, and say whether ids stay the same.

    Where they may differ nothing is written unless --text says on what to count the difference.
    """
    from fasttrain.tokenizer.convert import Differences, pieces_to_json, to_tiktoken, to_tokenizer_json
    from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer

    opened = open_tokenizer(source, special_tokens=special_ids(special or []))
    suffix = out.suffix.lower()
    if suffix not in (".json", ".tiktoken"):
        raise ConfigError(f"tokenizer convert: {out}: must end in .json or .tiktoken, which name the format")
    if out.exists() and out.samefile(opened.path):
        raise ConfigError(f"tokenizer convert: {out}: is the file that is read; give another")
    beside = out.with_name(f".{out.stem}.converting{suffix}")
    try:
        beside.parent.mkdir(parents=True, exist_ok=True)
        made: AnyTokenizer
        if (
            isinstance(opened.tokenizer, SentencePieceTokenizer)
            and opened.path.suffix == ".model"
            and suffix == ".json"
        ):
            made, why = pieces_to_json(opened.tokenizer, beside)
        else:
            made, why = (to_tiktoken if suffix == ".tiktoken" else to_tokenizer_json)(opened.bpe, beside)
        if why and not text:
            raise ConfigError(
                f"tokenizer convert: ids may differ: {why}; nothing was written: give --text to count how many do"
            )
        found = Differences()

        def take(column: "TextColumn", keys: list[tuple[str, str]]) -> None:
            found.add(opened.tokenizer, made, column)

        read_texts(text or [], take, max_bytes=max_bytes)
        beside.replace(out)
    finally:
        beside.unlink(missing_ok=True)
    typer.echo("ids are the same for every text" if not why else f"ids may differ: {why}")
    if text:
        typer.echo(
            f"{found.differing_tokens:,} of {found.tokens:,} tokens differ, in {found.differing_docs:,} of "
            f"{found.docs:,} documents"
        )
    if suffix == ".tiktoken":
        names = ", ".join(f"{name}={i}" for name, i in list(opened.bpe.special_tokens.items())[:8])
        typer.echo(f"load it with pattern {opened.bpe.pattern!r} and its special tokens: {names or 'none'}")
    typer.echo(f"written: {out}")


def special_ids(given: list[str]) -> dict[str, int]:
    """Ids by name, from `NAME=ID` each. Raises ConfigError: another form."""
    found = {}
    for text in given:
        name, equals, number = text.rpartition("=")
        if not equals or not name or not number.isdecimal():
            raise ConfigError(f"--special {text!r}: must read NAME=ID, for example '<|endoftext|>=100257'")
        found[name] = int(number)
    return found
