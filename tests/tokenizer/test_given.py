"""A recipe that takes a tokenizer as it is."""

import json

import pytest

from fasttrain.comm.group import SoloGroup
from fasttrain.core.errors import ConfigError
from fasttrain.formats.stage import run_stage
from fasttrain.tokenizer import (
    Tokenizer,
    TokenizerConfig,
    given,
    sentencepiece_file,
    sentencepiece_json,
    stage,
    train_bpe,
)
from tokenizer.scripts import SAMPLES
from tokenizer.split_stage import make

TOKENIZER = train_bpe(SAMPLES * 4, vocab_size=400)


@pytest.fixture
def split(tmp_path):
    return make(tmp_path / "split")


def run(split, tmp_path, config):
    return run_stage(
        "tokenizer",
        folder=tmp_path / "t",
        config=config,
        inputs=[split],
        world=SoloGroup(),
        body=lambda s: stage.run(s, config, tmp_path),
        source_fingerprint=given.fingerprint(config.path, tmp_path),
    )


@pytest.mark.parametrize("path", ["ours", "ours/tokenizer.json"])
def test_it_is_taken_and_measured(split, tmp_path, path):
    (tmp_path / "ours").mkdir()
    TOKENIZER.save(tmp_path / "ours")
    done = run(split, tmp_path, TokenizerConfig(path=path, vocab_size=400))
    assert Tokenizer.load(tmp_path / "t").fingerprint == TOKENIZER.fingerprint
    assert done.extra["fingerprint"] == TOKENIZER.fingerprint
    report = json.loads((tmp_path / "t" / "report.json").read_text())
    assert report["total"]["tokens"] > 0


def test_another_file_in_its_place_makes_the_stage_anew(split, tmp_path):
    TOKENIZER.save(tmp_path / "a.json")
    config = TokenizerConfig(path="a.json", vocab_size=400)
    first = run(split, tmp_path, config)
    other = train_bpe(SAMPLES[:5], vocab_size=400, pad_to_multiple=400)
    other.save(tmp_path / "a.json")
    second = run(split, tmp_path, config)
    assert first.extra["fingerprint"] != second.extra["fingerprint"] == other.fingerprint


def test_refusals(split, tmp_path):
    TOKENIZER.save(tmp_path / "a.json")
    train_bpe(SAMPLES, vocab_size=300, special_tokens=()).save(tmp_path / "b.json")
    for config, words in (
        (TokenizerConfig(path="a.json", vocab_size=512), "tokenizer.vocab_size: .*a.json has 400 tokens, got 512"),
        (
            TokenizerConfig(path="b.json", vocab_size=300),
            "tokenizer.path: .*b.json must hold the special token '<.endoftext.>'",
        ),
        (TokenizerConfig(path="none", vocab_size=300), "tokenizer.path: .*none: no such file"),
    ):
        with pytest.raises(ConfigError, match=words):
            run(split, tmp_path, config)


def test_a_tokenizer_json_of_pieces_is_taken(split, tmp_path):
    from tokenizer import pieces

    rows = [("▁", -9.0), *((c, -9.0) for c in "abcdefghijklmnopqrstuvwxyz"), ("th", -1.0)]
    model = sentencepiece_file.parse(pieces.model(rows, byte_fallback=True, remove_extra=False), "m")
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(sentencepiece_json.to_json(model, "m")))
    done = run(split, tmp_path, TokenizerConfig(path="tokenizer.json", vocab_size=len(model.pieces)))
    taken = Tokenizer.load(tmp_path / "t")
    assert (tmp_path / "t/tokenizer.json").read_bytes() == path.read_bytes()
    assert not (tmp_path / "t/tokenizer.model").exists()
    assert (done.extra["fingerprint"], taken.eot_id) == (taken.fingerprint, 2)
