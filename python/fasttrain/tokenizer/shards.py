"""The shards stage: documents -> token shards, one folder a phase and source, each document followed by end-of-text."""

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field

from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.config import Settings
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.shards import token_dtype, write_shard
from fasttrain.formats.stage import Stage
from fasttrain.tokenizer.tokenizer import AnyTokenizer

PHASES = ("train", "probe")
_DOCUMENT = np.dtype([("doc_id", "V16"), ("tokens", "<i8"), ("bytes", "<i8")])
_READ_DOCUMENTS = 1 << 14  # documents of one intermediate file joined at a time


class ShardsConfig(Settings):
    """Settings of the shards stage."""

    batch_documents: int = Field(default=1024, ge=1)
    """Documents tokenised at a time; bounds memory, changes no byte of the shards."""


def run(stage: Stage, config: ShardsConfig, tokenizer: AnyTokenizer) -> Report:
    """Write `train/<source>/` and `probe/<source>/` from the same phases of input 0.

    Every part is tokenised on some rank into intermediate files; then every source's files are joined in the order
    of parts, so the bytes depend neither on ranks nor on interruptions. `stage.extra`: by phase and
    source, tokens, docs and bytes. The tokenizer's stage must be among the stage's inputs, or a change would pass
    unseen.
    """
    eot_id, dtype = tokenizer.eot_id, token_dtype(tokenizer.vocab_size)
    extra: dict[str, Any] = {"vocab_size": tokenizer.vocab_size, "eot_id": eot_id}
    counts = {"tokens": 0}
    kept = num_bytes = bytes_out = 0
    for phase in PHASES:
        parts = stage.input_parts(0, phase)
        made = stage.map_parts(
            f"tokens-{phase}",
            parts,
            lambda path, writer: _tokenize(path, writer, tokenizer, dtype, config.batch_documents),
            key=lambda p: [p.name, tokenizer.fingerprint],
            output=False,
            label=f"shards/{phase}",
        )
        sources = sorted({s for part in made for s in part.extra["sources"]})

        def join(source: str, writer: PartWriter, phase: str = phase, made: list[PartReport] = made) -> None:
            folder = stage.folder / phase / folder_name(source)
            info = write_shard(
                folder,
                source=source,
                vocab_size=tokenizer.vocab_size,
                tokenizer_fingerprint=tokenizer.fingerprint,
                pieces=_pieces(stage.folder, made, source, dtype),
            )
            writer.kept += info["num_docs"]
            writer.bytes_in += info["num_bytes"]
            writer.extra = {k: info[f"num_{k}"] for k in ("tokens", "docs", "bytes")}
            for name in ("tokens.bin", "offsets.bin", "doc_ids.bin", "shard.json"):
                writer.add_file(folder / name, info["num_docs"], info["sha256"].get(name, ""))
                writer.bytes_out += (folder / name).stat().st_size

        joined = stage.map_parts(phase, sources, join, key=lambda s: [s, tokenizer.fingerprint])
        extra[phase] = {source: part.extra for source, part in zip(sources, joined)}
        kept += sum(part.report.kept for part in joined)
        num_bytes += sum(part.report.bytes_in for part in joined)
        bytes_out += sum(part.report.bytes_out for part in joined)
        counts["tokens"] += sum(part.extra["tokens"] for part in joined)
        counts[f"tokens_{phase}"] = sum(part.extra["tokens"] for part in joined)
    stage.extra = extra
    stage.on_root(lambda: _remove(stage.folder))
    return Report(kept=kept, bytes_in=num_bytes, bytes_out=bytes_out, counts=counts)


def _remove(folder: Path) -> None:
    """The intermediate files. A run that is killed from here on makes them again and finds its shards joined."""
    for phase in PHASES:
        shutil.rmtree(folder / f"tokens-{phase}", ignore_errors=True)


def folder_name(source: str) -> str:
    """A source's folder: its name, with what a file system would take amiss percent-encoded."""
    name = quote(source, safe=" +,=@()[]")
    return name.replace(".", "%2E", 1) if name.startswith(".") else name


def _tokenize(path: Path, writer: PartWriter, tokenizer: AnyTokenizer, dtype: np.dtype[Any], rows: int) -> None:
    """One part's documents as two files a source: ids, and a record a document."""
    with ExitStack() as stack:
        files: dict[str, tuple[IO[bytes], IO[bytes]]] = {}
        for batch in iter_documents(path, ["doc_id", "text", "source"], rows=rows):
            ids, offsets = tokenizer.encode_batch(batch.column("text"), add_eot=True, threads=threads_of_rank())
            records = np.empty(len(batch), _DOCUMENT)
            records["doc_id"] = np.frombuffer(b"".join(batch.column("doc_id").to_pylist()), "V16")
            records["tokens"] = np.diff(offsets)
            records["bytes"] = pa.compute.binary_length(batch.column("text")).to_numpy(zero_copy_only=False)
            sources = np.array(batch.column("source").to_pylist(), dtype=object)
            for source in dict.fromkeys(sources.tolist()):
                mine = sources == source
                if source not in files:
                    k = len(files)
                    files[source] = (
                        stack.enter_context(writer.path(f".{k}.tokens", 0).open("wb")),
                        stack.enter_context(writer.path(f".{k}.docs", 0).open("wb")),
                    )
                flat = ids if mine.all() else ids[np.repeat(mine, records["tokens"])]
                files[source][0].write(flat.astype(dtype).data)
                files[source][1].write(records[mine].tobytes())
        writer.extra = {"sources": list(files)}


def _pieces(
    folder: Path, parts: list[PartReport], source: str, dtype: np.dtype[Any]
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[np.int64], npt.NDArray[np.uint8], int]]:
    """What the parts hold of one source, in order, some thousand documents at a time."""
    for part in parts:
        if source not in part.extra["sources"]:
            continue
        k = part.extra["sources"].index(source)
        names = {f.path.rsplit(".", 1)[1]: f.path for f in part.files if f.path.split(".")[-2] == str(k)}
        with (folder / names["tokens"]).open("rb") as tokens, (folder / names["docs"]).open("rb") as docs:
            while len(raw := docs.read(_READ_DOCUMENTS * _DOCUMENT.itemsize)):
                records = np.frombuffer(raw, _DOCUMENT)
                offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(records["tokens"])])
                ids = np.frombuffer(tokens.read(int(offsets[-1]) * dtype.itemsize), dtype)
                doc_ids = np.frombuffer(records["doc_id"].tobytes(), np.uint8).reshape(-1, 16)
                yield ids, offsets, doc_ids, int(records["bytes"].sum())
