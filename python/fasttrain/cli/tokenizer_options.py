"""What the tokenizer commands share: tokenizers and texts as they are named on the command line."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.corpus.config import SourceConfig
from fasttrain.formats.run_folder import RunFolder
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer.judge import AnyTokenizer
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.tokenizer import Tokenizer

Text = Annotated[
    list[str],
    typer.Option(
        "--text",
        "-t",
        metavar="[NAME=]TEXT",
        help="Text files, folders or globs of any readable kind (txt, JSONL, Parquet, WARC, code; compressed or not), "
        "a run folder (its probe documents), or RECIPE#SOURCE, a source of a recipe; repeatable.",
    ),
]
MaxBytes = Annotated[int, typer.Option("--max-bytes", min=1, help="Read about so many bytes of each text.")]
_READ_ROWS = 1024


@dataclass(frozen=True)
class NamedTokenizer:
    """A tokenizer and what it is called in tables."""

    name: str
    path: Path
    tokenizer: AnyTokenizer

    @property
    def bpe(self) -> Tokenizer:
        """The tokenizer, of byte-level BPE. Raises ConfigError: it is a SentencePiece model."""
        if isinstance(self.tokenizer, SentencePieceTokenizer):
            raise ConfigError(
                f"{self.path}: SentencePiece's vocabularies are measured and become a tokenizer.json, but are neither "
                "extended nor written as ranks; give a byte-level tokenizer.json or .tiktoken"
            )
        return self.tokenizer


def open_tokenizer(given: str, special_tokens: dict[str, int] | None = None) -> NamedTokenizer:
    """Open `[NAME=]PATH[@PATTERN]`: a tokenizer.json, a folder with one, a run folder, a SentencePiece .model, or
    .tiktoken with its pattern.

    Raises: ConfigError, FormatError: no such file, not readable, or a .tiktoken file without its pattern.
    """
    name, path_text = _named(given)
    path_text, _, pattern = path_text.partition("@") if ".tiktoken@" in path_text else (path_text, "", "")
    path = Path(path_text)
    run = RunFolder(path).tokenizer
    file = run if run.is_file() else path
    try:
        tokenizer = Tokenizer.load(file, pattern=pattern or None, special_tokens=special_tokens or None)
    except FormatError:
        raise
    except ValueError as error:
        if file.suffix == ".tiktoken":
            raise ConfigError(f"{error}; on the command line: {file}@cl100k") from None
        raise ConfigError(str(error)) from None
    plain = path.parent.name if path.name == "tokenizer.json" else path.stem if path.is_file() else path.name
    return NamedTokenizer(name or plain or str(path), file, tokenizer)


def open_tokenizers(given: Sequence[str]) -> list[NamedTokenizer]:
    """Open all, each under a name of its own."""
    found = [open_tokenizer(text) for text in given]
    many = {name for name, count in Counter(t.name for t in found).items() if count > 1}
    return [NamedTokenizer(str(t.path), t.path, t.tokenizer) if t.name in many else t for t in found]


def read_texts(
    given: Sequence[str], emit: Callable[[TextColumn, list[tuple[str, str]]], None], *, max_bytes: int | None
) -> None:
    """Hand every text to `emit` with its source and language, in batches; each batch may be forgotten.

    A language that the text's reader does not name is identified (filter/language.py).
    Raises: ConfigError: nothing of that name, or no text in it.
    """
    from fasttrain.corpus import sample

    def take(batch: Any) -> None:
        keys = list(zip(batch.column("source").to_pylist(), _languages(batch)))
        emit(columns.from_arrow(batch.column("text")), keys)

    for text in given:
        name, path = _named(text)
        if (Path(path) / "recipe.json").is_file():
            _read_run(RunFolder(Path(path)), take, max_bytes)
        else:
            sources, base = _sources(name, path)
            sample.read_documents(sources, base, take, max_bytes=max_bytes)


def text_sources(given: str) -> tuple[list[SourceConfig], Path]:
    """The sources that `[NAME=]TEXT` stands for, and the folder that their paths start from.

    Raises: ConfigError: a recipe has no source of that name.
    """
    return _sources(*_named(given))


def _named(given: str) -> tuple[str, str]:
    """(name, rest) of `NAME=rest`; a path that has a = of its own and exists is all path."""
    name, equals, rest = given.partition("=")
    return (name, rest) if equals and name and not Path(given).exists() else ("", given)


def _sources(name: str, text: str) -> tuple[list[SourceConfig], Path]:
    from fasttrain.cli import recipe

    recipe_name, mark, source = text.partition("#")
    if mark and (recipe_name in recipe.shipped() or recipe_name.endswith(".toml")):
        resolved, base = recipe.read(recipe_name)
        found = [s for s in resolved.corpus.sources if s.name == source]
        if not found:
            known = ", ".join(dict.fromkeys(s.name for s in resolved.corpus.sources))
            raise ConfigError(f"--text {text}: the recipe has no source {source!r}; it has {known}")
        return found, base
    plain = "".join(c if (c.isalnum() and c.isascii()) or c in "._-" else "-" for c in name or _file_name(text))
    data = {"name": plain.strip("-.") or "text", "path": text, "language_field": "language"}
    if Path(text).is_file() and _is_unknown(text):
        data["kind"] = "text"  # a file that is named is read, whatever it ends in
    return [SourceConfig.load(data, "--text")], Path.cwd()


def _is_unknown(path: str) -> bool:
    from fasttrain.corpus import lake

    return not lake.kind_of(Path(path).name)


def _file_name(text: str) -> str:
    """With its extension: a.txt and a.md are two texts. Of a glob its folder's."""
    path = Path(text)
    return path.parent.name if set("*?[") & set(path.name) else path.name


def _languages(batch: Any) -> list[str]:
    from fasttrain.filter.language import LanguageConfig, name_languages

    known: list[str] = batch.column("language").to_pylist()
    return name_languages(batch.column("text"), known, LanguageConfig())[0]


def _read_run(run: RunFolder, emit: Callable[[Any], None], max_bytes: int | None) -> None:
    """The run's probe documents, which no tokenizer of it was trained on; its training documents when it has none."""
    import pyarrow as pa

    from fasttrain.formats.document import iter_documents

    for phase in ("probe", "train"):
        read: Counter[str] = Counter()
        for path in sorted((run.stage("split") / phase).glob("part-?????.parquet")):
            for batch in iter_documents(path, ["text", "source", "language"], rows=_READ_ROWS):
                wanted = [max_bytes is None or read[s] < max_bytes for s in batch.column("source").to_pylist()]
                kept = batch.filter(pa.array(wanted, pa.bool_()))
                lengths = pa.compute.binary_length(kept.column("text")).to_pylist()
                for source, length in zip(kept.column("source").to_pylist(), lengths):
                    read[source] += length
                if len(kept):
                    emit(kept)
        if read:
            return
    raise ConfigError(f"{run.root}: has no documents of the split stage; run `fasttrain prepare` first")
