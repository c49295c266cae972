"""`fasttrain tokenizer encode`: text files straight to token shards, without a run folder."""

import queue
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from fasttrain.cli.tokenizer_options import open_tokenizer, text_sources
from fasttrain.core.errors import ConfigError

if TYPE_CHECKING:
    from fasttrain.corpus.config import SourceConfig
    from fasttrain.tokenizer.tokenizer import AnyTokenizer

_BATCHES_AHEAD = 4  # read while others are encoded; bounds memory


def add(commands: typer.Typer) -> None:
    """Register the command."""
    commands.command("encode")(encode)


def encode(
    tokenizer: Annotated[
        str,
        typer.Argument(metavar="TOKENIZER", help="tokenizer.json, a folder or run folder with one, a SentencePiece "
                       ".model, or FILE.tiktoken@PATTERN."),
    ],
    texts: Annotated[
        list[str],
        typer.Argument(metavar="[NAME=]TEXT...", help="Text files, folders or globs of any readable kind (txt, JSONL, "
                       "Parquet, WARC, code; compressed or not), or RECIPE#SOURCE. Each is a source of its own."),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the shards, one folder a source.")],
    special: Annotated[
        list[str] | None,
        typer.Option("--special", metavar="NAME=ID", help="A special token of a .tiktoken file, which holds none."),
    ] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="For encoding; all of this rank's when not given.")
    ] = None,
) -> None:  # fmt: skip
    """Encode texts into token shards, each document followed by the end-of-text token.

    Nothing is filtered and nothing is read twice: reading and encoding go on side by side.
    """
    from fasttrain.cli.tokenizer_convert import special_ids
    from fasttrain.comm.threads import threads_of_rank
    from fasttrain.tokenizer.shards import folder_name

    opened = open_tokenizer(tokenizer, special_tokens=special_ids(special or []))
    try:
        _ = opened.tokenizer.eot_id
    except ValueError as error:
        raise ConfigError(f"tokenizer encode: {opened.path}: {error}") from None
    entries = [_for_shards(*text_sources(text)) for text in texts]
    folders = [out / folder_name(sources[0].name) for sources, _ in entries]
    for text, folder in zip(texts, folders):
        if folders.count(folder) > 1:
            raise ConfigError(
                f"tokenizer encode: {text}: another text has that name too; give each one, as NAME={text}"
            )
        if (folder / "shard.json").exists():
            raise ConfigError(f"tokenizer encode: {folder}: holds a shard already; give another --out or remove it")
    for folder, (sources, base) in zip(folders, entries):
        start = time.perf_counter()
        info = _encode(opened.tokenizer, sources, base, folder, threads or threads_of_rank())
        seconds = time.perf_counter() - start
        typer.echo(
            f"{folder}: {info['num_docs']:,} documents, {info['num_tokens']:,} tokens, "
            f"{info['num_bytes'] / max(info['num_tokens'], 1):.2f} bytes a token, "
            f"{info['num_bytes'] / 1e6:,.1f} MB of text at {info['num_bytes'] / 1e6 / seconds:.1f} MB/s"
        )


def _for_shards(sources: "list[SourceConfig]", base: Path) -> "tuple[list[SourceConfig], Path]":
    """The sources without the fields that no shard keeps: records that are a text alone are read in blocks."""
    unread = {"licence_field": None, "language_field": None, "timestamp_field": None}
    return [source.model_copy(update=unread) for source in sources], base


def _encode(
    tokenizer: "AnyTokenizer", sources: "list[SourceConfig]", base: Path, folder: Path, threads: int
) -> dict[str, Any]:
    """Read here and encode and write on a thread of its own; return the shard's shard.json."""
    from fasttrain.core.log import progress
    from fasttrain.corpus import sample
    from fasttrain.formats.shards import write_shard
    from fasttrain.formats.stage import documents_bytes

    batches: queue.Queue[Any] = queue.Queue(_BATCHES_AHEAD)

    def pieces() -> Iterator[Any]:
        while (batch := batches.get()) is not None:
            if isinstance(batch, BaseException):  # of the reader: nothing may look whole
                raise batch
            ids, offsets = tokenizer.encode_batch(batch.column("text"), add_eot=True, threads=threads)
            raw = batch.column("doc_id")
            doc_ids = np.frombuffer(raw.buffers()[1], np.uint8).reshape(-1, 16)[raw.offset : raw.offset + len(raw)]
            yield ids, offsets, doc_ids, documents_bytes(batch)

    def hand(batch: Any) -> None:
        while not writer.done():
            try:
                return batches.put(batch, timeout=0.1)
            except queue.Full:
                continue
        writer.result()  # why it ended before its time

    found = sample.files_of(sources, base)
    total = sum(file.weight for files in found for file in files)
    folder.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(1) as pool, progress(f"tokenizer/encode {folder.name}", total / 1e6, "MB") as bar:
        writer: Future[dict[str, Any]] = pool.submit(
            write_shard, folder, source=sources[0].name, vocab_size=tokenizer.vocab_size,
            tokenizer_fingerprint=tokenizer.fingerprint, pieces=pieces(),
        )  # fmt: skip

        def take(batch: Any) -> None:
            hand(batch)
            bar.advance(documents_bytes(batch) / 1e6)

        try:
            sample.read_documents(sources, base, take, found=found)
            hand(None)
        except BaseException as error:
            if not writer.done():
                hand(error)
            raise
        return writer.result()
