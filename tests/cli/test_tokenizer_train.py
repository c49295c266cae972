"""tokenizer train on files: what is written, and what is said when it cannot be."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from fasttrain.cli import tokenizer_train
from fasttrain.core.errors import ConfigError
from fasttrain.tokenizer import Tokenizer, train_bpe


def ask(*args):
    app = typer.Typer(pretty_exceptions_enable=False)
    tokenizer_train.add(app)
    return CliRunner().invoke(app, list(map(str, args)))


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(Path(json.__file__).read_text(encoding="utf-8"), encoding="utf-8")
    return path


def test_sizes_of_one_training(tmp_path, text):
    out = tmp_path / "new" / "tokenizer.json"
    result = ask("-t", text, "--vocab-size", 400, "--vocab-size", 300, "--pad-to-multiple", 1, "--out", out)
    assert result.exit_code == 0, result.output
    for size, file in ((400, out), (300, out.with_name("tokenizer-300.json"))):
        assert f"tokenizer: {file}, {size} tokens" in result.output.replace("\n", "")
        assert Tokenizer.load(file).fingerprint == train_bpe([text], vocab_size=size, min_frequency=2).fingerprint


def test_weights_and_options(tmp_path, text):
    other = tmp_path / "b.txt"
    other.write_text("word " * 50)
    out = tmp_path / "t.json"
    result = ask("-t", f"code={text}", "-t", f"words={other}", "--weight", "code=1", "--weight", "words=3",
                 "--given", "->", "--tie-break", "rustbpe", "--vocab-size", 320, "--out", out)  # fmt: skip
    assert result.exit_code == 0, result.output
    wanted = train_bpe({"code": [text], "words": [other]}, weights={"code": 1, "words": 3}, given_tokens=["->"],
                       tie_break="rustbpe", vocab_size=320, min_frequency=2, pad_to_multiple=64)  # fmt: skip
    assert Tokenizer.load(out).fingerprint == wanted.fingerprint


@pytest.mark.parametrize(("model", "name"), [("superbpe", "s.json"), ("unigram", "u.model")])
def test_other_models(tmp_path, text, model, name):
    out = tmp_path / name
    result = ask("-t", text, "--model", model, "--vocab-size", 450, "--pad-to-multiple", 1, "--out", out)
    assert result.exit_code == 0, result.output
    loaded = Tokenizer.load(out)
    assert loaded.decode(loaded.encode("of the same")) == "of the same"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--vocab-size", 100], "vocab_size must hold 256 bytes and 1 special tokens, got 100"),
        (["--pattern", "words"], "pattern must be one of cl100k, llama3, qwen2, gpt2.*, got 'words'"),
        (["--tie-break", "x"], "tie_break must be one of hf, rustbpe, got 'x'"),
        (["--model", "wordpiece"], "--model must be bpe, superbpe or unigram, got 'wordpiece'"),
        (["--model", "superbpe", "--given", "->"], "takes one --vocab-size, and no --weight"),
        (["-t", "none.txt"], "--text none.txt: no such file"),
        (["lake"], "RECIPE is for a recipe, not for --text"),
        (["--set", "seed=1"], "--set is for a recipe, not for --text"),
        (["--weight", "a"], "--weight must be NAME=SHARE, got 'a'"),
        (["--weight", "b=1"], "weights must name a source of the text"),
    ],
)
def test_refuses(tmp_path, text, args, words):
    error = ask("-t", f"a={text}", "--out", tmp_path / "t.json", *args).exception
    assert isinstance(error, ConfigError)
    with pytest.raises(ConfigError, match=words):
        raise error


def test_an_empty_file_is_refused(tmp_path):
    empty = tmp_path / "empty.txt"
    empty.touch()
    error = ask("-t", empty, "--out", tmp_path / "t.json").exception
    assert str(error) == "tokenizer train: bpe_train: there must be text to train on, got none"


def test_options_of_text_need_text():
    error = ask("demo", "--split-digits").exception
    assert str(error) == "tokenizer train: --split-digits needs --text; a recipe has --set tokenizer.KEY=VALUE"
