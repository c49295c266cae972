"""The stages in order on a few documents: which run again when what changes."""

import json
import random
from pathlib import Path

import pytest

from dedup.documents import documents_of, ledger_of
from fasttrain.batch.split import SplitConfig
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.corpus.config import CorpusConfig
from fasttrain.decontam.benchmarks import DecontamConfig
from fasttrain.dedup.config import DedupConfig
from fasttrain.dedup.passages_config import FuzzyPassages, PassagesConfig
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


def test_the_order_of_sources_and_the_size_of_parts_change_no_document(tmp_path):
    """Documents and decisions up to the passages, by doc_id: copies are found across sources, files and parts."""
    draws, names = random.Random(5), ("books", "web", "notes")
    said = [" ".join(draws.choices(("whale", "sea", "ship", "crew", "sail", "mast", "of", "the"), k=30)) + "."
            for _ in range(40)]  # fmt: skip
    for name in names:
        texts = ["\n\n".join(draws.sample(said, draws.randint(2, 6))) for _ in range(60)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    sources = [{"name": name, "path": f"{name}.jsonl", "licence": "CC0-1.0"} for name in names]
    rules = PassagesConfig(
        lines=True, line_documents=3, paragraphs=True, substring=True, min_bytes=60, spans=2, fuzzy=FuzzyPassages(),
        scope="global", priority={"notes": 2, "web": 1},
    )  # fmt: skip

    def outcome(name, listed, part_bytes):
        read = CorpusConfig.load({"sources": listed, "part_bytes": part_bytes})
        settings = config(corpus=read, passages=rules, dedup=DedupConfig(priority=rules.priority))
        folder = RunFolder(tmp_path / name)
        for stage in STAGES[:4]:
            journey.run(folder, settings, base=tmp_path, total_tokens=4096, world=SoloGroup(), only=stage)
        found = documents_of(folder.stage("passages")), ledger_of(folder.stage("passages"))
        parts = len(list((folder.stage("passages") / "documents").glob("part-*.json")))
        return [sorted(rows, key=lambda row: row["doc_id"]) for rows in found], parts

    want, few = outcome("one", sources, 1 << 20)
    found, many = outcome("other", sources[::-1], 4096)
    assert found == want
    assert few < many
    assert {row["decision"] for row in want[1]} == {"kept", "edited", "dropped"}


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
