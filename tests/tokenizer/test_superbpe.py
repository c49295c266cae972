import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, pre_tokenizers
from tokenizers import Tokenizer as HuggingFace

from fasttrain.text import columns
from fasttrain.tokenizer import bpe_encode_ref, superbpe, train_bpe
from fasttrain.tokenizer.pretokenize import pretokenize
from tokenizer.scripts import SAMPLES, TEXT

TEXTS = [Path(m.__file__).read_text(encoding="utf-8")[:60_000] for m in (json, pytest, np.ma)] + SAMPLES
SIZES = {"vocab_size": 900, "subword_size": 600}


def superwords(texts, pattern):
    pieces, starts = pretokenize(columns.from_texts(texts), pattern=pattern)
    goes_on = superbpe.joins(pieces, starts)
    found = [[] for _ in texts]
    for n, (begin, end) in enumerate(zip(starts[:-1].tolist(), starts[1:].tolist())):
        for p in range(begin, end):
            if goes_on[p]:
                found[n][-1] += pieces[p]
            else:
                found[n].append(pieces[p])
    return found


def by_expression(text, pattern):
    split = pre_tokenizers.Split(Regex(superbpe.EXPRESSIONS[pattern]), "isolated")
    return [piece.encode() for piece, _ in split.pre_tokenize_str(text)]


@given(st.lists(TEXT | st.text("aé 's1.\n", max_size=20), max_size=5), st.sampled_from(list(superbpe.EXPRESSIONS)))
def test_superwords_are_what_the_expression_gives(texts, pattern):
    assert superwords(texts, pattern) == [by_expression(t, pattern) for t in texts]


@pytest.mark.parametrize("pattern", list(superbpe.EXPRESSIONS))
def test_superwords_of_real_text(pattern):
    assert superwords(TEXTS, pattern) == [by_expression(t, pattern) for t in TEXTS]


def test_superwords_by_hand():
    assert superwords(["it's of the same, in  a word 12 of\nle café noir"], "cl100k") == [
        [b"it", b"'s", b" of the same", b",", b" in", b" ", b" a word", b" ", b"12", b" of", b"\n",
         "le café noir".encode()]
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", list(superbpe.EXPRESSIONS))
def test_loads_in_transformers_with_the_same_ids(tmp_path, pattern):
    transformers = pytest.importorskip("transformers")
    trained = superbpe.train_superbpe(TEXTS, pattern=pattern, **SIZES)
    trained.save(tmp_path / "tokenizer.json")
    theirs = HuggingFace.from_file(str(tmp_path / "tokenizer.json"))
    fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    v = trained.vocabulary
    byte_ids = v.byte_ids("test").tolist()
    merges = {tuple(p): (r, i) for p, r, i in zip(v.pairs.tolist(), v.ranks.tolist(), v.id_of_rank.tolist())}
    crossing = 0
    for text in [*SAMPLES, *(t[:5000] for t in TEXTS)]:
        ids = [i for piece in by_expression(text, pattern) for i in bpe_encode_ref.merge(piece, byte_ids, merges)]
        assert theirs.encode(text, add_special_tokens=False).ids == ids
        assert fast(text, add_special_tokens=False)["input_ids"] == ids
        assert b"".join(v.tokens[i] for i in ids) == text.encode()
        crossing += sum(b" " in v.tokens[i].strip() for i in ids)
    assert crossing > 20


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
