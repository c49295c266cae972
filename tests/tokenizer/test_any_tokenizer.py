"""SentencePiece models through the doors of a tokenizer.json: load, encode, decode, recipes to shards."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given as given_texts
from hypothesis import strategies as st

import fasttrain as ft
from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats.run_folder import RunFolder
from fasttrain.formats.shards import open_shard
from fasttrain.formats.stage import run_stage
from fasttrain.tokenizer import Tokenizer, TokenizerConfig, given, shards, stage, train_bpe
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer
from fasttrain.tokenizer.shards import ShardsConfig
from tokenizer import pieces
from tokenizer.scripts import SAMPLES, TEXT
from tokenizer.sentencepiece_trained import SETTINGS, trained
from tokenizer.split_stage import make

MODELS = [("bpe", "bytes"), ("unigram", "nfkc")]


@pytest.fixture(scope="module", params=MODELS, ids="-".join)
def both(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("any") / "tokenizer.model"
    theirs, _ = trained(*request.param, path)
    path.write_bytes(theirs.serialized_model_proto())  # `trained` wrote it for the first test that asked only
    return theirs, path


def test_every_setting_is_one_of_the_tests():
    assert {name for _, name in MODELS} <= set(SETTINGS)


def test_load_opens_a_model_and_a_folder_with_one(both):
    theirs, path = both
    for place in (path, path.parent, str(path)):
        tokenizer = ft.Tokenizer.load(place)
        assert isinstance(tokenizer, SentencePieceTokenizer)
        assert tokenizer.vocab_size == theirs.get_piece_size()
        assert tokenizer.eot_id == theirs.eos_id()
        assert tokenizer.special_tokens["<s>"] == theirs.bos_id()
        again = pickle.loads(pickle.dumps(tokenizer))
        assert again.fingerprint == tokenizer.fingerprint
        assert again.encode(SAMPLES[0]).tolist() == theirs.encode(SAMPLES[0])


def test_a_folder_with_both_files_is_its_json(both, tmp_path):
    (tmp_path / "tokenizer.model").write_bytes(both[1].read_bytes())
    train_bpe(SAMPLES, vocab_size=300).save(tmp_path)
    assert isinstance(Tokenizer.load(tmp_path), Tokenizer)


@given_texts(texts=st.lists(TEXT, max_size=4), threads=st.sampled_from([1, 2]))
def test_ends_of_texts_and_batches(both, texts, threads):
    theirs, path = both
    tokenizer = Tokenizer.load(path)
    ids, offsets = tokenizer.encode_batch(texts, add_eot=True, threads=threads)
    assert ids.dtype == np.uint32
    assert offsets.dtype == np.int64
    assert offsets[-1] == len(ids)
    wanted = [[*theirs.encode(t), theirs.eos_id()] for t in texts]
    assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == wanted
    whole = [tokenizer.decode(tokenizer.encode(t)) for t in texts]
    assert tokenizer.decode_batch(ids, offsets) == whole
    for row, text in zip(wanted, whole):
        stream = tokenizer.decode_stream()
        for _ in range(2):  # a stream that was closed begins again
            assert "".join([*(stream.feed(i) for i in row), stream.close()]) == text


def test_unknown_pieces_are_skipped_when_asked(both):
    theirs, path = both
    tokenizer = Tokenizer.load(path)
    row = [*theirs.encode("one"), theirs.unk_id(), theirs.eos_id()]
    assert tokenizer.decode(row) == "one \u2047 "
    assert tokenizer.decode(row, skip_special=True) == "one"


def test_saved_is_the_same_file(both, tmp_path):
    tokenizer = Tokenizer.load(both[1])
    tokenizer.save(tmp_path)
    tokenizer.save(tmp_path / "other.model")
    for name in ("tokenizer.model", "other.model"):
        assert (tmp_path / name).read_bytes() == both[1].read_bytes()


def without_end(tmp_path):
    path = tmp_path / "endless.model"
    rows = [(f"w{i}", -1.0) for i in range(254)]
    path.write_bytes(pieces.model(rows).replace(b"</s>", b"</z>"))
    return path


def test_refusals(both, tmp_path):
    tokenizer = Tokenizer.load(both[1])
    with pytest.raises(ValueError, match="a SentencePiece model reads no control pieces from text"):
        tokenizer.encode_batch(["</s>"], allow_special=True)
    with pytest.raises(ValueError, match="dropout is for byte-level BPE, this is a sentencepiece"):
        tokenizer.encode_batch(["a"], dropout=0.1)
    with pytest.raises(ValueError, match=".model file names its pattern and special tokens itself"):
        Tokenizer.load(both[1], pattern="cl100k")
    with pytest.raises(ValueError, match="no end-of-text piece among the control pieces .*eos_id is -1"):
        Tokenizer.load(without_end(tmp_path)).encode_batch(["a"], add_eot=True)
    (tmp_path / "broken.model").write_bytes(b"\x0a\xff")
    with pytest.raises(FormatError, match="not a SentencePiece model"):
        Tokenizer.load(tmp_path / "broken.model")
    with pytest.raises(FormatError, match="no such tokenizer file"):
        Tokenizer.load(tmp_path / "none.model")


def run(tmp_path, split, config):
    folder = RunFolder(tmp_path / "run")
    made = run_stage(
        "tokenizer", folder=folder.stage("tokenizer"), config=config, inputs=[split], world=SoloGroup(),
        body=lambda s: stage.run(s, config, tmp_path), source_fingerprint=given.fingerprint(config.path, tmp_path),
    )  # fmt: skip
    stages = [split, folder.stage("tokenizer")]
    run_stage(
        "shards", folder=folder.shards, config=ShardsConfig(), inputs=stages, world=SoloGroup(),
        body=lambda s: shards.run(s, ShardsConfig(), Tokenizer.load(folder.tokenizer)),
    )  # fmt: skip
    return folder, made


def test_a_recipe_names_a_model_and_its_shards_hold_their_ids(both, tmp_path):
    theirs, path = both
    split = make(tmp_path / "split")
    config = TokenizerConfig(path=str(path), vocab_size=theirs.get_piece_size())
    folder, made = run(tmp_path, split, config)
    assert folder.tokenizer.name == "tokenizer.model"
    assert made.extra["vocab_size"] == theirs.get_piece_size()
    rows = []
    for shard_json in sorted(folder.shards.glob("train/*/shard.json")):
        shard = open_shard(shard_json.parent)
        rows += [shard.tokens[a:b].tolist() for a, b in pairwise(shard.offsets)]
    texts = [f"train {item} {text}" for item in range(5) for text in SAMPLES]
    assert sorted(rows) == sorted([*theirs.encode(text), theirs.eos_id()] for text in texts)
    folder, _ = run(tmp_path, split, TokenizerConfig(vocab_size=400))  # trains: nothing of the model stays
    assert folder.tokenizer.name == "tokenizer.json"
    assert not (folder.stage("tokenizer") / "tokenizer.model").exists()


def test_a_model_without_an_end_is_refused_before_anything_is_written(tmp_path):
    config = TokenizerConfig(path="endless.model", vocab_size=257)
    without_end(tmp_path)
    with pytest.raises(ConfigError, match="tokenizer.path: .*endless.model: tokenizer: no end-of-text piece"):
        run(tmp_path, make(tmp_path / "split"), config)
