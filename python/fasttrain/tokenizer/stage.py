"""The tokenizer stage: train documents -> tokenizer.json and report.json."""

import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator

from fasttrain.comm.threads import threads_of_rank
from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.stage import PartReport, PartWriter, Stage
from fasttrain.text import columns
from fasttrain.tokenizer import given, measure, patterns
from fasttrain.tokenizer.bpe_train import WordCounter
from fasttrain.tokenizer.tokenizer import Tokenizer
from fasttrain.tokenizer.train_bpe import EOT, from_words

log = logging.getLogger("fasttrain.tokenizer")
_WORDS = pa.schema([pa.field("word", pa.large_binary(), nullable=False), pa.field("count", pa.int64(), nullable=False)])


class TokenizerConfig(Settings):
    """Settings of the tokenizer stage."""

    path: str = ""
    """An existing tokenizer to use as it is (one that `tokenizer extend` wrote, say): tokenizer.json or its folder,
    relative to the recipe. vocab_size must then be its size, and the keys of training mean nothing."""
    vocab_size: int = Field(default=32768, ge=257)
    """Tokens in all: special ones, 256 bytes and merges. Fewer come out when the text has no more pairs."""
    pattern: str = "cl100k"
    """How text is cut before merging: cl100k, llama3, qwen2 or gpt2."""
    special_tokens: tuple[str, ...] = (EOT,)
    """Ids from 0 on. Must hold <|endoftext|>, which ends every document in the token shards."""
    min_frequency: int = Field(default=2, ge=0)
    """A pair that occurs less often does not merge."""
    max_bytes_per_source: int = Field(default=1 << 30, ge=1)
    """Train on at most about so many bytes of a source; which documents depends on their ids alone."""
    pad_to_multiple: int = Field(default=64, ge=1)
    """Fill the vocabulary with reserved special tokens up to a multiple of this."""
    report_bytes_per_source: int = Field(default=4 << 20, ge=1)
    """Measure the tokenizer on about so many bytes of a source."""

    @model_validator(mode="after")
    def _check(self) -> "TokenizerConfig":
        if self.pattern not in patterns.NUMBER:
            raise ValueError(f"pattern must be one of {', '.join(patterns.NUMBER)}, got {self.pattern!r}")
        if EOT not in self.special_tokens:
            raise ValueError(f"special_tokens must hold {EOT!r}, got {list(self.special_tokens)}")
        if len(set(self.special_tokens)) != len(self.special_tokens) or "" in self.special_tokens:
            raise ValueError(f"special_tokens must be distinct and not empty, got {list(self.special_tokens)}")
        if self.vocab_size < 256 + len(self.special_tokens):
            raise ValueError(f"vocab_size must hold 256 bytes and the special tokens, got {self.vocab_size}")
        return self


def run(stage: Stage, config: TokenizerConfig, base: Path = Path()) -> Report:
    """Train on phase `train` of input 0 and measure; writes tokenizer.json and report.json into the stage's folder.

    Pretokens are counted part by part on every rank; the root learns the merges. The bytes do not depend on ranks.
    With `config.path` (below `base`) nothing is trained.
    Raises: ConfigError: there is no text to train on, or `config.path` is not what the recipe needs.
    """
    parts = stage.input_parts(0, "train")
    total = _sizes(stage.map_parts("sizes", parts, _count_bytes, key=_name, output=False))
    if not sum(total.values()):
        raise ConfigError("tokenizer: there is no text in phase train of its input; check the filters of the recipe")
    sample = _shares(total, config.max_bytes_per_source)

    def count(path: Path, writer: PartWriter) -> None:
        counter = WordCounter(config.pattern)
        for batch in iter_documents(path, ["doc_id", "text", "source"], rows=1024):
            kept = batch.filter(pa.array(sampled(batch, sample)))
            column = columns.from_arrow(kept.column("text"))
            counter.add(column, threads=threads_of_rank())
            writer.kept += len(column)
            writer.bytes_in += column.num_bytes
        words, counts = counter.words()
        array = pa.Array.from_buffers(
            pa.large_binary(), len(words), [None, pa.py_buffer(words.offsets), pa.py_buffer(words.data)]
        )
        writer.write(pa.RecordBatch.from_arrays([array, pa.array(counts)], schema=_WORDS))

    counted = (
        []
        if config.path
        else stage.map_parts(
            "words",
            parts,
            count,
            key=lambda p: [_name(p), sample, config.pattern],
            output=False,
            label="tokenizer/count",
        )
    )
    path = stage.folder / "tokenizer.json"
    stage.on_root(
        lambda: (
            given.take(base / config.path, path, config.vocab_size, EOT)
            if config.path
            else _learn(stage.folder, counted, config, path)
        )
    )
    tokenizer = Tokenizer.load(path)
    figures = _report(stage, tokenizer, parts, _shares(total, config.report_bytes_per_source))
    stage.on_root(lambda: atomic.write_json(stage.folder / "report.json", figures))
    stage.add_file(path, tokenizer.vocab_size)
    stage.add_file(stage.folder / "report.json", 1)
    stage.extra = {"vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint, "total": figures["total"]}
    return Report(
        kept=sum(p.report.kept for p in counted),
        bytes_in=sum(p.report.bytes_in for p in counted),
        bytes_out=path.stat().st_size,
        counts={"vocab_size": tokenizer.vocab_size, "merges": len(tokenizer.vocabulary.pairs)},
    )


def sampled(batch: Any, share: dict[str, float]) -> npt.NDArray[np.bool_]:
    """(N,) bool. Whether each document is in the sample: its doc_id, a uniform hash, lies below its source's share."""
    ids = np.frombuffer(b"".join(batch.column("doc_id").to_pylist()), "<u8")[::2]
    limits = np.array([share[s] for s in batch.column("source").to_pylist()], np.float64)
    return np.asarray((ids >> np.uint64(11)) * 2.0**-53 < limits)


def _count_bytes(path: Path, writer: PartWriter) -> None:
    sizes: Counter[str] = Counter()
    for batch in iter_documents(path, ["source", "text"]):
        lengths = pa.compute.binary_length(batch.column("text")).to_numpy(zero_copy_only=False)
        for source, length in zip(batch.column("source").to_pylist(), lengths.tolist()):
            sizes[source] += length
    writer.extra = {"bytes": dict(sorted(sizes.items()))}


def _sizes(reports: list[PartReport]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for report in reports:
        for source, size in report.extra["bytes"].items():
            total[source] += size
    return dict(sorted(total.items()))


def _shares(total: dict[str, int], limit: int) -> dict[str, float]:
    return {source: min(1.0, limit / size) if size else 1.0 for source, size in total.items()}


def _learn(folder: Path, counted: list[PartReport], config: TokenizerConfig, path: Path) -> None:
    counter = WordCounter(config.pattern)
    for part in counted:
        for file in part.files:
            table = pq.read_table(folder / file.path)
            for batch in table.to_batches():
                words = columns.from_arrow(batch.column("word").cast(pa.large_string(), safe=False))
                counter.add_counted(words, np.ascontiguousarray(batch.column("count").to_numpy()))
    tokenizer = from_words(
        counter,
        vocab_size=config.vocab_size,
        special_tokens=config.special_tokens,
        min_frequency=config.min_frequency,
        pad_to_multiple=config.pad_to_multiple,
    )
    if len(tokenizer.vocabulary.tokens) < config.vocab_size:
        log.info("tokenizer: the text has pairs for %d tokens only, %d were asked", tokenizer.vocab_size,
                 config.vocab_size)  # fmt: skip
    tokenizer.save(path)


def _report(stage: Stage, tokenizer: Tokenizer, parts: list[Path], share: dict[str, float]) -> dict[str, Any]:
    """Measure a sample of every source, part by part on every rank."""

    def work(path: Path, writer: PartWriter) -> None:
        totals: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
        for batch in iter_documents(path, ["doc_id", "text", "source", "language"], rows=1024):
            kept = batch.filter(pa.array(sampled(batch, share)))
            keys = list(zip(kept.column("source").to_pylist(), kept.column("language").to_pylist()))
            names = sorted(set(keys))
            groups = np.array([names.index(k) for k in keys], np.int64)
            counts = measure.measure(tokenizer, columns.from_arrow(kept.column("text")), groups, len(names))
            for name, row in zip(names, counts):
                totals[name] = totals.get(name, np.zeros(len(row), np.int64)) + row
        writer.extra = {"rows": [[*name, row.tolist()] for name, row in sorted(totals.items())]}

    reports = stage.map_parts(
        "measure", parts, work, key=lambda p: [_name(p), share, tokenizer.fingerprint], output=False,
        label="tokenizer/measure",
    )  # fmt: skip
    rows = [(s, lang or "unknown", np.array(row)) for r in reports for s, lang, row in r.extra["rows"]]
    return measure.report(tokenizer, rows)


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
