"""The tokenizer stage: train documents -> tokenizer.json (or a given tokenizer.model) and report.json."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pydantic import Field, model_validator

from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.formats import atomic
from fasttrain.formats.document import iter_documents
from fasttrain.formats.manifest import Report
from fasttrain.formats.part import PartReport, PartWriter
from fasttrain.formats.stage import Stage
from fasttrain.text import columns
from fasttrain.tokenizer import given, given_tokens, learn_bpe, patterns, weighting
from fasttrain.tokenizer.judge import UNKNOWN, Judge, by_group
from fasttrain.tokenizer.stage_words import Counted, count_words, sampled
from fasttrain.tokenizer.tokenizer import AnyTokenizer, Tokenizer, file_in
from fasttrain.tokenizer.train_bpe import EOT

log = logging.getLogger("fasttrain.tokenizer")
Shares = Callable[[Mapping[str, int]], Mapping[str, float]]
"""From the bytes of each source to its share."""


class TokenizerConfig(Settings):
    """Settings of the tokenizer stage."""

    path: str = ""
    """An existing tokenizer to use as it is (one that `tokenizer extend` wrote, say): tokenizer.json, a
    SentencePiece .model that has </s>, or a folder with one, relative to the recipe. vocab_size must then be its size,
    and the keys of training mean nothing."""
    vocab_size: int = Field(default=32768, ge=257)
    """Tokens in all: special ones, 256 bytes and merges. Fewer come out when the text has no more pairs."""
    pattern: str = "cl100k"
    """How text is cut before merging: cl100k, llama3, qwen2 or gpt2."""
    special_tokens: tuple[str, ...] = (EOT,)
    """Ids from 0 on. Must hold <|endoftext|>, which ends every document in the token shards."""
    tie_break: Literal["hf", "rustbpe"] = "hf"
    """Whose vocabulary comes out, byte for byte: Hugging Face tokenizers' or rustbpe's; they break ties otherwise."""
    given_tokens: tuple[str, ...] = ()
    """Texts that shall be one token each, such as "->" or "\t\t": ordinary tokens, merged before all learnt ones."""
    whitespace_runs: int = Field(default=1, ge=1, le=256)
    """Every run of 2 to so many spaces is a token."""
    split_digits: bool = False
    """No merge ever joins two digits."""
    min_frequency: int = Field(default=2, ge=0)
    """A pair that occurs less often does not merge."""
    weights: Literal["size", "mixture"] | dict[str, float] = "size"
    """Share of each source in the training: by its text, as in the recipe's mixture (a token taken as 4 bytes), or
    given in any unit; then a source that is not named is left out."""
    language_weights: dict[str, float] = Field(default_factory=dict)
    """How much more than others the text of a language counts within its source; 1 where it is not named."""
    max_words: int = Field(default=1 << 24, ge=1)
    """Distinct pretokens held, about 300 bytes each. Beyond it a half, a quarter, ... of the documents is taken."""
    also_sizes: tuple[int, ...] = ()
    """Smaller vocabularies of the same training, written beside tokenizer.json as tokenizer-<size>.json."""
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
        spelled = [bytes([b]) for b in range(256)]
        given_tokens.merges(spelled, self.given_tokens, self.whitespace_runs, self.pattern)
        least = len(spelled) + len(self.special_tokens)
        if self.vocab_size < least:
            raise ValueError(
                f"vocab_size must hold bytes, special and given tokens, {least} in all, got {self.vocab_size}"
            )
        if any(not least <= size <= self.vocab_size for size in self.also_sizes):
            raise ValueError(f"also_sizes must lie between {least} and vocab_size, got {list(self.also_sizes)}")
        return self


def run(stage: Stage, config: TokenizerConfig, base: Path = Path(), *, shares: Shares | None = None) -> Report:
    """Train on phase `train` of input 0 and measure; writes tokenizer.json and report.json into the stage's folder.

    Pretokens are counted part by part on every rank; the root learns the merges. The bytes do not depend on ranks.
    With `config.path` (below `base`) nothing is trained.
    Args:
        shares: the mixture; for weights = "mixture".
    Raises: ConfigError: there is no text to train on, weights name no source of it, or `config.path` is not what the
        recipe needs.
    """
    parts = stage.input_parts(0, "train")
    total = _sizes(stage.map_parts("sizes", parts, _count_bytes, key=_name, output=False))
    if not sum(total.values()):
        raise ConfigError("tokenizer: there is no text in phase train of its input; check the filters of the recipe")
    if config.path:
        stage.on_root(lambda: given.take(base / config.path, stage.folder, config.vocab_size, EOT))
        counted = Counted([], [], 0)
    else:
        counted = _train(stage, config, parts, total, shares)
    path = file_in(stage.folder)
    tokenizer = Tokenizer.load(path)
    figures = _report(stage, tokenizer, parts, _shares(total, config.report_bytes_per_source))
    stage.on_root(lambda: atomic.write_json(stage.folder / "report.json", figures))
    stage.add_file(path, tokenizer.vocab_size)
    stage.add_file(stage.folder / "report.json", 1)
    for size in () if config.path else sorted(set(config.also_sizes)):
        stage.add_file(_smaller(stage, size), size)
    stage.extra = {"vocab_size": tokenizer.vocab_size, "fingerprint": tokenizer.fingerprint, "total": figures["total"]}
    if counted.level:
        stage.extra["documents_trained_on"] = f"1/{1 << counted.level}"
    return Report(
        kept=sum(p.report.kept for p in counted.reports),
        bytes_in=sum(p.report.bytes_in for p in counted.reports),
        bytes_out=path.stat().st_size,
        counts={"vocab_size": tokenizer.vocab_size, "merges": tokenizer.num_merges},
    )


def _train(
    stage: Stage, config: TokenizerConfig, parts: list[Path], total: dict[str, int], shares: Shares | None
) -> Counted:
    """Write tokenizer.json and those of smaller sizes; return what was counted."""
    wanted = _wanted(config, total, shares)
    is_weighted = wanted is not None or bool(config.language_weights)

    def multipliers(sizes: Mapping[weighting.Cell, int]) -> dict[weighting.Cell, int]:
        try:
            return weighting.multipliers(sizes, wanted, config.language_weights)
        except ValueError as e:
            raise ConfigError(str(e).replace("bpe_train", "tokenizer", 1)) from e

    counted = count_words(
        stage, parts, _shares(total, config.max_bytes_per_source), pattern=config.pattern, max_words=config.max_words,
        multipliers=multipliers if is_weighted else None,
    )  # fmt: skip

    def learn() -> None:
        learned = learn_bpe.learn(
            *counted.words.pop().words(),
            pattern=config.pattern,
            vocab_size=config.vocab_size,
            special_tokens=config.special_tokens,
            tie_break=config.tie_break,
            given=config.given_tokens,
            whitespace_runs=config.whitespace_runs,
            split_digits=config.split_digits,
            min_frequency=config.min_frequency * (weighting.UNIT if is_weighted else 1),
        )
        if learned.size < config.vocab_size:
            log.info("tokenizer: the text has pairs for %d tokens only, %d were asked", learned.size, config.vocab_size)
        smaller = {size: _smaller(stage, size) for size in config.also_sizes}
        for size, file in {**smaller, config.vocab_size: stage.folder / "tokenizer.json"}.items():
            learned.tokenizer(size, pad_to_multiple=config.pad_to_multiple).save(file)
        (stage.folder / "tokenizer.model").unlink(missing_ok=True)  # of an earlier recipe that named one

    stage.on_root(learn)
    return counted


def _smaller(stage: Stage, size: int) -> Path:
    return stage.folder / f"tokenizer-{size}.json"


def _wanted(config: TokenizerConfig, sizes: Mapping[str, int], shares: Shares | None) -> Mapping[str, float] | None:
    """The share of each source; None: by size."""
    if isinstance(config.weights, dict):
        return config.weights
    if config.weights == "size":
        return None
    if shares is None:
        raise ConfigError('tokenizer: weights = "mixture" needs the recipe\'s mixture; give the weights themselves')
    return shares({s: n for s, n in sizes.items() if n})


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


def _report(stage: Stage, tokenizer: AnyTokenizer, parts: list[Path], share: dict[str, float]) -> dict[str, Any]:
    """Judge the tokenizer on a sample of every source, part by part on every rank."""
    judge = Judge(tokenizer)

    def work(path: Path, writer: PartWriter) -> None:
        judge.counts.clear()
        for batch in iter_documents(path, ["doc_id", "text", "source", "language"], rows=1024):
            kept = batch.filter(pa.array(sampled(batch, share)))
            languages = [language or UNKNOWN for language in kept.column("language").to_pylist()]
            judge.add(columns.from_arrow(kept.column("text")), list(zip(kept.column("source").to_pylist(), languages)))
        writer.extra = {"rows": [[*name, row.tolist()] for name, row in sorted(judge.counts.items())]}

    reports = stage.map_parts(
        "measure", parts, work, key=lambda p: [_name(p), share, tokenizer.fingerprint], output=False,
        label="tokenizer/measure",
    )  # fmt: skip
    counts: dict[tuple[str, str], npt.NDArray[np.int64]] = {}
    for source, language, row in (row for r in reports for row in r.extra["rows"]):
        counts[source, language] = counts.get((source, language), 0) + np.array(row, np.int64)
    lengths = np.array([len(t) for t in tokenizer.vocabulary.tokens])
    return {
        "vocab_size": tokenizer.vocab_size,
        "pattern": tokenizer.pattern,
        "merges": tokenizer.num_merges,
        "special_tokens": tokenizer.special_tokens,
        "fingerprint": tokenizer.fingerprint,
        "mean_token_bytes": round(float(lengths.mean()), 3),
        "longest_token_bytes": int(lengths.max()),
        **by_group(counts),
    }


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
