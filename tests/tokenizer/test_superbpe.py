import json
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFace

from fasttrain.core import backend
from fasttrain.text import columns
from fasttrain.tokenizer import Tokenizer, patterns, superbpe, train_bpe
from fasttrain.tokenizer.bpe_dropout import bpe_dropout
from tokenizer.scripts import SAMPLES, TEXT

TEXTS = [Path(m.__file__).read_text(encoding="utf-8")[:60_000] for m in (json, pytest, np.ma)] + SAMPLES
SIZES = {"vocab_size": 900, "subword_size": 600}
PATTERNS = list(patterns.SUPERWORDS)
WORDS = st.lists(
    st.sampled_from(["the", "of", "return", "self", "in", "é", "漢字", "'s", "1", "\n", "", "if", "None"])
).map(" ".join)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """both(pattern): a tokenizer of two stages as loaded here and by Hugging Face's tokenizers, and its file."""

    @cache
    def made(pattern):
        path = tmp_path_factory.mktemp(pattern) / "tokenizer.json"
        superbpe.train_superbpe(TEXTS, pattern=pattern, **SIZES).save(path)
        return Tokenizer.load(path), HuggingFace.from_file(str(path)), path

    return made


@pytest.mark.parametrize("pattern", PATTERNS)
def test_loads_in_transformers_with_the_same_ids(both, pattern):
    transformers = pytest.importorskip("transformers")
    ours, theirs, path = both(pattern)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(path))
    crossing = 0
    for text in [*SAMPLES, *(t[:5000] for t in TEXTS)]:
        ids = ours.encode(text).tolist()
        assert theirs.encode(text, add_special_tokens=False).ids == ids
        assert fast(text, add_special_tokens=False)["input_ids"] == ids
        assert ours.decode(ids) == text
        crossing += sum(b" " in ours.vocabulary.tokens[i].strip() for i in ids)
    assert crossing > 20


@given(st.lists(WORDS | TEXT, max_size=4).map("".join), st.sampled_from(PATTERNS))
def test_ids_equal_theirs(both, text, pattern):
    ours, theirs, _ = both(pattern)
    text = text.replace("<|", "")  # tokenizers would read a special token
    encoding = theirs.encode(text)
    column = columns.from_texts([text])
    for impl in backend.implementations("bpe_encode"):
        for _ in range(2):  # the second time from the cache
            ids, offsets = ours.encode_batch(column, impl=impl)
            assert ids.tolist() == encoding.ids
    assert ours.decode(ids) == text
    assert [tuple(s) for s in ours.spans(column, ids, offsets, unit="characters").tolist()] == encoding.offsets
    dropped, _ = ours.encode_batch(column, dropout=0.3, seed=7)
    assert ours.decode(dropped) == text
    np.testing.assert_array_equal(bpe_dropout(ours._model, column, dropout=0.3, seed=7, impl="reference")[0], dropped)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_long_superwords_equal_theirs(both, pattern):
    """Pieces of many kilobytes: merged by the heap first, then by backtracking, in one text and in many."""
    ours, theirs, _ = both(pattern)
    words = [w for t in TEXTS[:3] for w in re.findall("[a-z]+", t)] * 6
    texts = [" ".join(words[k : k + n]) for k, n in ((0, 40), (9, 400), (0, len(words)), (5, 3000))]
    wanted = [theirs.encode(t).ids for t in texts]
    assert len(texts[2]) > 50_000
    for impl in backend.implementations("bpe_encode")[:-1]:
        fresh = Tokenizer(ours.vocabulary)
        for _ in range(2):
            ids, offsets = fresh.encode_batch(texts, impl=impl)
            assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == wanted


def test_a_tokenizer_is_the_file_that_it_saves(tmp_path):
    trained = superbpe.train_superbpe(TEXTS, **SIZES)
    trained.save(tmp_path / "tokenizer.json")
    loaded = Tokenizer.load(tmp_path)
    assert loaded.fingerprint == trained.tokenizer().fingerprint
    assert loaded.pattern == "cl100k_superwords"
    loaded.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_the_first_stage_is_ordinary_training():
    trained = superbpe.train_superbpe(TEXTS, **SIZES)
    first = train_bpe(TEXTS, vocab_size=600).vocabulary
    assert trained.vocabulary.tokens[:600] == first.tokens
    assert trained.vocabulary.pairs[: len(first.pairs)].tolist() == first.pairs.tolist()
    crossing = [t for t in trained.vocabulary.tokens[600:] if b" " in t[1:].lstrip(b" ")]
    assert trained.num_superwords == len(crossing) > 20
    assert trained.sampled_bytes == sum(len(t.encode()) for t in TEXTS)
    for max_spaces in (1, 2):
        tokens = superbpe.train_superbpe(TEXTS, max_spaces=max_spaces, **SIZES).vocabulary.tokens[600:]
        assert max(t.count(b" ") for t in tokens) == max_spaces


def test_the_second_stage_sees_a_fixed_sample():
    lines = [line for t in TEXTS for line in t.splitlines(keepends=True)]
    total = sum(len(line.encode()) for line in lines)
    one, two = (superbpe.train_superbpe(order, sample_bytes=total // 3, threads=threads, **SIZES)
                for order, threads in ((lines, 1), (lines[::-1], 3)))  # fmt: skip
    assert one.vocabulary.fingerprint == two.vocabulary.fingerprint
    assert one.sampled_bytes == two.sampled_bytes
    assert 0.2 * total < one.sampled_bytes < 0.5 * total
    whole = superbpe.train_superbpe(lines, **SIZES)
    assert whole.vocabulary.tokens[:600] == one.vocabulary.tokens[:600]
    assert whole.vocabulary.fingerprint != one.vocabulary.fingerprint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pattern": "gpt2"}, "pattern must be one of cl100k, llama3, qwen2, got 'gpt2'"),
        (
            {"subword_size": 200},
            "subword_size must lie between the bytes and special tokens, and vocab_size = 900; got 200",
        ),
        ({"subword_size": 901}, "subword_size must lie"),
        ({"texts": iter(["a"])}, "texts must be a list, column or Paths"),
        ({"max_spaces": 0}, "sample_bytes and max_spaces must be at least 1"),
        ({"texts": [""]}, "there must be text to train on"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        superbpe.train_superbpe(**{"texts": TEXTS} | SIZES | options)
