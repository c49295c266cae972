"""The stages in order on a few documents: which run again when what changes."""

import json
from pathlib import Path

import pytest

from fasttrain.batch.split import SplitConfig
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.corpus.config import CorpusConfig
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.passages_config import PassagesConfig
from fasttrain.filter.config import FilterConfig
from fasttrain.formats import manifest
from fasttrain.formats.run_folder import RunFolder
from fasttrain.mixture.plan import Mixture, MixtureConfig
from fasttrain.prepare import journey
from fasttrain.prepare.journey import STAGES, PrepareConfig
from fasttrain.tokenizer.shards import ShardsConfig
from fasttrain.tokenizer.stage import TokenizerConfig


@pytest.fixture
def lake(tmp_path):
    folder = tmp_path / "lake"
    folder.mkdir()
    for k in range(8):
        text = " ".join(
            f"The {word} of chapter {k} is long enough to be read." for word in ("whale", "sea", "ship", "crew")
        )
        (folder / f"{k}.txt").write_text(f"{text}\n\n" * (k + 2))
    return tmp_path


def config(**changes):
    tables = {
        "corpus": CorpusConfig.load(
            {"sources": [{"name": "books", "path": "lake", "kind": "text", "licence": "CC0-1.0"}]}
        ),
        "filter": FilterConfig(default_profile="curated"),
        "dedup": DedupConfig(fuzzy=False),
        "passages": PassagesConfig(),
        "decontam": DecontamConfig(),
        "split": SplitConfig(),
        "tokenizer": TokenizerConfig(vocab_size=320),
        "shards": ShardsConfig(),
        "mixture": MixtureConfig(),
    }
    return PrepareConfig(**{**tables, **changes})


def run(base, settings=None, **options):
    folder = RunFolder(base / "run")
    return folder, journey.run(folder, settings or config(), base=base, total_tokens=4096, world=SoloGroup(), **options)


def times(folder):
    return {name: (folder.stage(name) / manifest.NAME).stat().st_mtime_ns for name in STAGES}


def test_every_stage_leaves_a_finished_manifest(lake):
    folder, done = run(lake)
    assert tuple(done) == STAGES
    for name in STAGES:
        manifest.verify(folder.stage(name), manifest.read(folder.stage(name)))
    assert folder.tokenizer.exists()
    mixture = Mixture.load(json.loads(folder.mixture.read_text()))
    assert mixture.weights == {"books": 1.0}
    assert sum(mixture.tokens.values()) == 4096


def test_nothing_is_made_twice(lake):
    folder, _ = run(lake)
    before = times(folder)
    run(lake)
    assert times(folder) == before


def test_a_changed_setting_reaches_the_later_stages_only(lake):
    folder, _ = run(lake)
    before = times(folder)
    run(lake, config(tokenizer=TokenizerConfig(vocab_size=384)))
    after = times(folder)
    assert [name for name in STAGES if after[name] != before[name]] == ["tokenizer", "shards", "mixture"]


def test_a_changed_file_of_the_lake_reaches_every_stage(lake):
    folder, _ = run(lake)
    before = times(folder)
    (lake / "lake/3.txt").write_text("Another text altogether, about a lighthouse and its keeper. " * 9)
    run(lake)
    after = times(folder)
    assert all(after[name] != before[name] for name in STAGES)


def test_only_and_from(lake):
    folder, done = run(lake, only="corpus")
    assert tuple(done) == ("corpus",)
    assert not folder.stage("filter").exists()
    with pytest.raises(FormatError, match="no manifest, so this stage is not finished"):
        run(lake, only="dedup")
    _, done = run(lake, start="filter")
    assert tuple(done) == STAGES[1:]


@pytest.mark.parametrize("option", ["only", "start"])
def test_an_unknown_stage_is_named(lake, option):
    with pytest.raises(ConfigError, match=r"sift: no such stage; stages in order: corpus, filter"):
        run(lake, **{option: "sift"})


def test_a_missing_lake_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"corpus.sources.0.path: source 'books': 'lake' matches no file"):
        run(Path(tmp_path))
