"""The tokenizer and shards stages on a small split stage: contents, ranks, interruption, refusals."""

import json

import numpy as np
import pytest

from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError
from fasttrain.formats import document, manifest
from fasttrain.formats.shards import open_shards
from fasttrain.formats.stage import run_stage
from fasttrain.tokenizer import Tokenizer, TokenizerConfig, bpe_train_ref, shards, stage, train_bpe, weighting
from tokenizer.split_stage import SOURCES, Nothing, make


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return make(tmp_path_factory.mktemp("run") / "split")


CONFIG = TokenizerConfig(vocab_size=400, min_frequency=2)


def train(split, folder, config=CONFIG, world=None):
    return run_stage("tokenizer", folder=folder, config=config, inputs=[split], world=world or SoloGroup(),
                     body=lambda s: stage.run(s, config))  # fmt: skip


def tokenise(split, tokenizer_folder, folder, world=None, config=None):
    config = config or shards.ShardsConfig(batch_documents=4)
    tokenizer = Tokenizer.load(tokenizer_folder)
    return run_stage("shards", folder=folder, config=config, inputs=[split, tokenizer_folder],
                     world=world or SoloGroup(), body=lambda s: shards.run(s, config, tokenizer))  # fmt: skip


def train_rows(split, columns):
    files = [split / f.path for f in manifest.read(split).files if f.path.startswith("train/")]
    return [row for f in files for row in document.read_documents(f).select(columns).to_pylist()]


def train_texts(split):
    return [row["text"] for row in train_rows(split, ["text"])]


def test_the_tokenizer_stage_gives_what_train_bpe_gives(split, tmp_path):
    m = train(split, tmp_path / "t")
    tokenizer = Tokenizer.load(tmp_path / "t" / "tokenizer.json")
    texts = train_texts(split)
    assert tokenizer.fingerprint == train_bpe(texts, vocab_size=400, min_frequency=2, pad_to_multiple=64).fingerprint
    assert [f.path for f in m.files] == ["tokenizer.json", "report.json"]
    manifest.verify(tmp_path / "t", m)
    assert m.report.kept == len(texts)
    report = json.loads((tmp_path / "t" / "report.json").read_text())
    assert set(report["by_source"]) == set(SOURCES)
    assert set(report["by_language"]) == {"en", "fr"}
    ids, _ = tokenizer.encode_batch(texts)
    assert report["total"]["tokens"] == len(ids) == sum(s["tokens"] for s in report["by_source"].values())
    size = sum(len(t.encode()) for t in texts)
    assert report["total"]["bytes"] == size
    assert report["total"]["bytes_per_token"] == round(size / len(ids), 5)
    assert 0 < report["total"]["strr"] < 1 < report["total"]["fertility"]


def test_the_sample_of_a_source_is_bounded_and_fixed(split, tmp_path):
    config = TokenizerConfig(vocab_size=300, max_bytes_per_source=1000)
    one, two = train(split, tmp_path / "a", config), train(split, tmp_path / "b", config)
    assert 0 < one.report.kept < len(train_texts(split))
    assert one.content_fingerprint == two.content_fingerprint


def test_weights_make_the_share_in_training(split, tmp_path):
    """Of the mixture or given, by source and language: the same as texts repeated that often."""
    rows = train_rows(split, ["text", "source", "language"])
    cells = {}
    for row in rows:
        cell = row["source"], row["language"]
        cells[cell] = cells.get(cell, 0) + len(row["text"].encode())
    size = {s: sum(n for (source, _), n in cells.items() if source == s) for s in SOURCES}
    weights = {SOURCES[0]: 3.0, SOURCES[1]: 1.0}
    times = weighting.multipliers(cells, weights, {"fr": 2.0})
    texts = {f"{s}/{lang}": [r["text"] for r in rows if (r["source"], r["language"]) == (s, lang)] for s, lang in cells}
    shares = {f"{s}/{lang}": times[s, lang] * n for (s, lang), n in cells.items()}
    kw = {"vocab_size": 400, "language_weights": {"fr": 2.0}}
    train(split, tmp_path / "given", TokenizerConfig(weights=weights, **kw))
    found = Tokenizer.load(tmp_path / "given")
    wanted = train_bpe(texts, vocab_size=400, min_frequency=2, pad_to_multiple=64, weights=shares)
    assert found.fingerprint == wanted.fingerprint
    config = TokenizerConfig(weights="mixture", **kw)
    seen = []

    def mixture(sizes):
        seen.append(sizes)
        return weights

    run_stage("tokenizer", folder=tmp_path / "mixture", config=config, inputs=[split], world=SoloGroup(),
              body=lambda s: stage.run(s, config, shares=mixture))  # fmt: skip
    assert seen == [size]
    assert Tokenizer.load(tmp_path / "mixture").fingerprint == found.fingerprint
    for weights, words in (
        ("mixture", "needs the recipe's mixture"),
        ({"c": 1.0}, "tokenizer: weights must name a source"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(split, tmp_path / "refused", TokenizerConfig(weights=weights))


def test_a_bound_on_words_takes_fewer_documents(split, tmp_path):
    words = 60
    config = TokenizerConfig(vocab_size=300, max_words=words)
    m = train(split, tmp_path / "t", config)
    taken = m.extra["documents_trained_on"]
    level = int(taken.removeprefix("1/")).bit_length() - 1
    assert level > 0
    rows = train_rows(split, ["doc_id", "text"])
    distinct = [
        len(bpe_train_ref.count_words([r["text"].encode() for r in rows if r["doc_id"][7] >> (8 - k) == 0], "cl100k"))
        for k in range(level + 1)
    ]
    assert distinct[level] <= words < distinct[level - 1]
    kept = [r["text"] for r in rows if r["doc_id"][7] >> (8 - level) == 0]
    wanted = train_bpe(kept, vocab_size=300, min_frequency=2, pad_to_multiple=64)
    assert Tokenizer.load(tmp_path / "t").fingerprint == wanted.fingerprint
    with pytest.raises(ConfigError, match="max_words = 1 is less than one document holds"):
        train(split, tmp_path / "u", TokenizerConfig(vocab_size=300, max_words=1))


def test_smaller_sizes_are_written_beside(split, tmp_path):
    config = TokenizerConfig(vocab_size=400, also_sizes=(320, 300), pad_to_multiple=1, whitespace_runs=4)
    m = train(split, tmp_path / "t", config)
    assert [f.path for f in m.files] == ["tokenizer.json", "report.json", "tokenizer-300.json", "tokenizer-320.json"]
    whole = Tokenizer.load(tmp_path / "t").vocabulary
    for size in (300, 320):
        found = Tokenizer.load(tmp_path / "t" / f"tokenizer-{size}.json").vocabulary
        assert found.tokens == whole.tokens[:size]


def test_shards_hold_each_document_and_its_end(split, tmp_path):
    train(split, tmp_path / "t")
    m = tokenise(split, tmp_path / "t", tmp_path / "s")
    tokenizer = Tokenizer.load(tmp_path / "t")
    manifest.verify(tmp_path / "s", m)
    texts = {}
    for file in manifest.read(split).files:
        table = document.read_documents(split / file.path)
        phase = file.path.split("/")[0]
        for row in table.select(["doc_id", "text", "source"]).to_pylist():
            texts.setdefault((phase, row["source"]), []).append((row["doc_id"], row["text"]))
    for phase in ("train", "probe"):
        found = open_shards(tmp_path / "s" / phase)
        assert {(phase, s) for s in found} == {k for k in texts if k[0] == phase}
        for source, shard in found.items():
            wanted = texts[phase, source]
            assert shard.tokens.dtype == np.uint16
            assert shard.doc_ids.tobytes() == b"".join(i for i, _ in wanted)
            assert shard.num_bytes == sum(len(t.encode()) for _, t in wanted)
            for n, (_, text) in enumerate(wanted):
                ids = shard.tokens[shard.offsets[n] : shard.offsets[n + 1]].tolist()
                assert ids == [*tokenizer.encode(text).tolist(), tokenizer.eot_id]
            extra = m.extra[phase][source]
            assert extra == {"tokens": shard.num_tokens, "docs": shard.num_docs, "bytes": shard.num_bytes}
    assert m.report.counts["tokens"] == m.report.counts["tokens_train"] + m.report.counts["tokens_probe"]
    assert not list((tmp_path / "s").glob("tokens-*"))
    assert (tmp_path / "s" / "train" / "a%2Fb c" / "tokens.bin").exists()


def contents(folder):
    """Every output file's bytes."""
    return {f.path: (folder / f.path).read_bytes() for f in manifest.read(folder).files}


def test_the_bytes_do_not_depend_on_batches_or_interruption(split, tmp_path, monkeypatch):
    train(split, tmp_path / "t")
    tokenise(split, tmp_path / "t", tmp_path / "whole")
    tokenise(split, tmp_path / "t", tmp_path / "batches", config=shards.ShardsConfig(batch_documents=1000))
    assert contents(tmp_path / "batches") == contents(tmp_path / "whole")
    for name, when in (("_tokenize", 4), ("_pieces", 3)):
        real, calls = getattr(shards, name), []

        def dies(*args, real=real, calls=calls, when=when):
            calls.append(1)
            if len(calls) == when:
                raise KeyboardInterrupt
            return real(*args)

        monkeypatch.setattr(shards, name, dies)
        with pytest.raises(KeyboardInterrupt):
            tokenise(split, tmp_path / "t", tmp_path / name)
        monkeypatch.undo()
        assert not (tmp_path / name / "manifest.json").exists()
        tokenise(split, tmp_path / "t", tmp_path / name)
        assert contents(tmp_path / name) == contents(tmp_path / "whole")


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"pattern": "p50k"}, "tokenizer: pattern must be one of cl100k, llama3, qwen2, gpt2"),
        ({"special_tokens": ["<|pad|>"]}, "special_tokens must hold '<\\|endoftext\\|>'"),
        ({"vocab_size": 100}, "tokenizer.vocab_size: .*257"),
        ({"vocab_size": 260, "whitespace_runs": 9}, "vocab_size must hold bytes, special and given tokens, 265 in all"),
        ({"also_sizes": [100]}, "also_sizes must lie between 257 and vocab_size"),
        ({"given_tokens": ["a b"]}, "given token 'a b' must be one piece of pattern cl100k"),
        ({"tie_break": "x"}, "tokenizer.tie_break"),
        ({"vocab": 400}, "tokenizer.vocab: unknown key; did you mean 'vocab_size'"),
    ],
)
def test_refuses_settings(table, words):
    with pytest.raises(ConfigError, match=words):
        TokenizerConfig.load(table, where="tokenizer")


def test_refuses_an_input_without_text(tmp_path):
    run_stage("split", folder=tmp_path / "split", config=Nothing(), inputs=[], world=SoloGroup(),
              body=lambda s: s.map_parts("train", [], lambda i, w: None) and None)  # fmt: skip
    with pytest.raises(ConfigError, match="no text in phase train"):
        train(tmp_path / "split", tmp_path / "t")
