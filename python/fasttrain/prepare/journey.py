"""The journey from a lake to token shards: nine stages, each resumable alone.

corpus -> filter -> dedup -> passages -> decontam -> split -> tokenizer -> shards -> mixture
"""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fasttrain.batch import split
from fasttrain.batch.split import SplitConfig
from fasttrain.comm.group import Group
from fasttrain.core.config import Settings
from fasttrain.core.errors import ConfigError
from fasttrain.corpus import removals
from fasttrain.corpus import stage as corpus
from fasttrain.corpus.config import CorpusConfig
from fasttrain.decontam import benchmarks
from fasttrain.decontam import stage as decontam
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.dedup import passages
from fasttrain.dedup import stage as dedup
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.passages_config import PassagesConfig
from fasttrain.filter import stage as filtering
from fasttrain.filter.config import FilterConfig
from fasttrain.formats import atomic
from fasttrain.formats.manifest import Manifest, Report
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shards
from fasttrain.formats.stage import Stage, run_stage
from fasttrain.mixture.plan import MixtureConfig, plan
from fasttrain.tokenizer import given, shards
from fasttrain.tokenizer import stage as tokenizer
from fasttrain.tokenizer.shards import ShardsConfig
from fasttrain.tokenizer.stage import TokenizerConfig
from fasttrain.tokenizer.tokenizer import Tokenizer

log = logging.getLogger("fasttrain.prepare")

C = TypeVar("C", bound=Settings)

STAGES = ("corpus", "filter", "dedup", "passages", "decontam", "split", "tokenizer", "shards", "mixture")
_BYTES_OF_TOKEN = 4  # what the mixture's cap on epochs takes a token for, before there is a tokenizer


class PrepareConfig(Settings):
    """What shapes the token shards: one table of the recipe for each room."""

    corpus: CorpusConfig
    """What to read."""
    filter: FilterConfig
    """What is worth reading."""
    dedup: DedupConfig
    """Exact and near duplicates."""
    passages: PassagesConfig
    """Lines, paragraphs and byte strings that repeat."""
    decontam: DecontamConfig
    """Benchmarks that must not be trained on."""
    split: SplitConfig
    """The held-out probe set."""
    tokenizer: TokenizerConfig
    """The vocabulary."""
    shards: ShardsConfig
    """The token shards."""
    mixture: MixtureConfig
    """Weights and epochs by source."""


class MixtureStageConfig(Settings):
    """Settings of the mixture stage: the mixture's own and the length that its epochs are counted against."""

    mixture: MixtureConfig
    """Weights, temperature, caps."""
    total_tokens: int
    """Tokens that the training run will draw."""


def selected(only: str | None, start: str | None) -> tuple[str, ...]:
    """Stages that `--only` and `--from` name. Raises ConfigError for a stage there is not."""
    for option, name in (("--only", only), ("--from", start)):
        if name is not None and name not in STAGES:
            raise ConfigError(f"{option} {name}: no such stage; stages in order: {', '.join(STAGES)}")
    if only is not None:
        return (only,)
    return STAGES[STAGES.index(start) :] if start is not None else STAGES


def run(
    folder: RunFolder,
    config: PrepareConfig,
    *,
    base: Path,
    total_tokens: int,
    world: Group,
    only: str | None = None,
    start: str | None = None,
) -> dict[str, Manifest]:
    """Bring the selected stages to a finished state, in order; return their manifests by name.

    Args:
        base: the folder that relative paths of the recipe start from.
        total_tokens: what training will draw; the mixture's epochs are counted against it.
        only, start: one stage, or all from one on; the stages before must be finished.
    Raises: ConfigError: a wrong path or setting. FormatError: an input stage is missing or damaged.
    """
    runs: dict[str, Callable[[], Manifest]] = {
        "corpus": lambda: _corpus(folder, config.corpus, base, world),
        "filter": lambda: _stage("filter", folder, config.filter, ("corpus",), world, partial(filtering.run, base=base),
                                 filtering.source_fingerprint(config.filter, base), by_part=True),
        "dedup": lambda: _stage("dedup", folder, config.dedup, ("filter",), world, partial(dedup.run, base=base),
                                dedup.source_fingerprint(config.dedup, base)),
        "passages": lambda: _stage("passages", folder, config.passages, ("dedup",), world, passages.run),
        "decontam": lambda: _stage("decontam", folder, config.decontam, ("passages",), world,
                                   partial(decontam.run, base=base), benchmarks.fingerprints(config.decontam, base),
                                   by_part=True),
        "split": lambda: _stage("split", folder, config.split, ("decontam",), world, split.run),
        "tokenizer": lambda: _stage("tokenizer", folder, config.tokenizer, ("split",), world,
                                    partial(tokenizer.run, base=base, shares=lambda sizes: plan(
                                        config.mixture, sizes, total_tokens * _BYTES_OF_TOKEN).weights),
                                    [given.fingerprint(config.tokenizer.path, base),
                                     [config.mixture.to_dict(), total_tokens]
                                     if config.tokenizer.weights == "mixture" else None]),
        "shards": lambda: _stage("shards", folder, config.shards, ("split", "tokenizer"), world,
                                 lambda stage, c: shards.run(stage, c, Tokenizer.load(folder.tokenizer))),
        "mixture": lambda: _mixture(folder, config.mixture, total_tokens, world),
    }  # fmt: skip
    return {name: runs[name]() for name in selected(only, start)}


def _corpus(folder: RunFolder, config: CorpusConfig, base: Path, world: Group) -> Manifest:
    """The first stage. Removal requests are its revision: they touch the parts that hold what they name."""
    listed = removals.read([base / config.removals, folder.removals / "list.jsonl"])
    return run_stage(
        "corpus",
        folder=folder.stage("corpus"),
        config=config,
        inputs=(),
        world=world,
        body=lambda stage: corpus.run(stage, config, base, listed),
        source_fingerprint=corpus.source_fingerprint(config, base),
        revision=listed.revision,
    )


def _stage(
    name: str,
    folder: RunFolder,
    config: C,
    after: Sequence[str],
    world: Group,
    body: Callable[[Stage, C], Report | None],
    source_fingerprint: Any = None,
    *,
    by_part: bool = False,
) -> Manifest:
    """A stage that reads the stages `after`; `source_fingerprint` stands for the files that it reads besides them."""
    return run_stage(
        name,
        folder=folder.stage(name),
        config=config,
        inputs=[folder.stage(earlier) for earlier in after],
        world=world,
        body=lambda stage: body(stage, config),
        source_fingerprint=source_fingerprint,
        by_part=by_part,
    )


def _mixture(folder: RunFolder, config: MixtureConfig, total_tokens: int, world: Group) -> Manifest:
    def body(stage: Stage) -> Report:
        sizes = {name: shard.num_tokens for name, shard in open_shards(folder.shards / "train").items()}
        mixture = plan(config, sizes, total_tokens)
        stage.extra["mixture"] = mixture.to_dict()
        if world.is_root:
            for warning in mixture.warnings:
                log.warning("mixture: %s", warning)
            atomic.write_json(folder.mixture, mixture.to_dict())
        return Report(counts={"tokens": total_tokens})

    return run_stage(
        "mixture",
        folder=folder.stage("mixture"),
        config=MixtureStageConfig(mixture=config, total_tokens=total_tokens),
        inputs=[folder.shards],
        world=world,
        body=body,
    )
