import json
from pathlib import Path

import pytest

from fasttrain.tokenizer.train_unigram import train_unigram
from tokenizer.scripts import SAMPLES

sentencepiece = pytest.importorskip("sentencepiece")
LINES = [line for m in (json, pytest) for line in Path(m.__file__).read_text().splitlines(keepends=True)] + SAMPLES


def load(trained):
    return sentencepiece.SentencePieceProcessor(model_proto=trained.model)


def test_every_text_comes_back(tmp_path):
    trained = train_unigram(LINES, vocab_size=500, pad_to_multiple=64, special_tokens=("<|endoftext|>", "<|pad|>"))
    trained.save(tmp_path / "unigram.model")
    model = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "unigram.model"))
    assert model.get_piece_size() == 512
    assert [model.id_to_piece(i) for i in range(4)] == ["<unk>", "<|endoftext|>", "<|pad|>", "\n"]
    assert model.is_control(1)
    for text in [*SAMPLES, "  two  spaces \n\n\t", "\U0001f600 never seen \u0e01"]:
        assert model.decode(model.encode(text)) == text
    assert 1 not in model.encode("<|endoftext|>")


def test_given_tokens_and_digits():
    model = load(train_unigram(LINES, vocab_size=520, given_tokens=["->", "def"]))
    assert model.encode("a->b", out_type=str).count("->") == 1
    assert model.encode("12", out_type=str)[-2:] == ["1", "2"]


def test_the_sample_is_fixed_whatever_the_order():
    total = sum(len(line.encode()) for line in LINES)
    one = train_unigram(LINES, vocab_size=520, sample_bytes=total // 2)
    two = train_unigram(LINES[::-1], vocab_size=520, sample_bytes=total // 2)
    assert load(one).serialized_model_proto() == load(two).serialized_model_proto()
    assert one.sampled_bytes == two.sampled_bytes < 0.7 * total


def test_refuses():
    with pytest.raises(ValueError, match="there must be text to train on"):
        train_unigram(["", ""], vocab_size=400)
    with pytest.raises(ValueError, match="sentencepiece could not train 100000 pieces"):
        train_unigram(["too little text"], vocab_size=100_000)
    with pytest.raises(ValueError, match="sentencepiece could not train 257 pieces"):
        train_unigram(LINES, vocab_size=257)
    with pytest.raises(ValueError, match="texts must be a list, column or Paths"):
        train_unigram(iter(LINES), vocab_size=400)
