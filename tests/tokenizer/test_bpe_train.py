import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HuggingFace

from fasttrain.text import columns
from fasttrain.tokenizer import byte_level, patterns, tokenizer_json
from fasttrain.tokenizer.bpe_train import WordCounter, bpe_train
from fasttrain.tokenizer.train_bpe import train_bpe
from tokenizer.scripts import SAMPLES, TEXT

OP = "bpe_train"
BYTES = [bytes([b]) for b in range(256)]
IDS = np.arange(256, dtype=np.uint32)


def learn(words, vocab_size, **kw):
    """Merges of counted words as strings; bytes are their own ids."""
    counts = np.array(list(words.values()), np.int64)
    pairs, ids = bpe_train(columns.from_texts(words), counts, tokens=BYTES, byte_ids=IDS, vocab_size=vocab_size, **kw)
    tokens = list(BYTES)
    for (a, b), i in zip(pairs.tolist(), ids.tolist()):
        if i == len(tokens):
            tokens.append(tokens[a] + tokens[b])
        assert tokens[i] == tokens[a] + tokens[b]
    return [(tokens[a].decode("latin-1"), tokens[b].decode("latin-1")) for a, b in pairs.tolist()]


def hugging_face(texts, pattern, vocab_size, min_frequency=0):
    """What the tokenizers package trains on the same texts: vocabulary and merges."""
    tokenizer = HuggingFace(models.BPE())
    split = pre_tokenizers.Split(Regex(patterns.HUGGING_FACE[pattern]), "isolated")
    byte_level_step = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level_step])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=min_frequency,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def ours(texts, pattern, vocab_size, **kw):
    model = tokenizer_json.to_json(train_bpe(texts, vocab_size=vocab_size, pattern=pattern, **kw).vocabulary)["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def test_by_hand(impl):
    # ab 3+2, bc 2, ba 1: ab; then (ab, c) 2, then nothing but single pairs, smallest ids first.
    assert learn({"ab": 3, "abc": 2, "bad": 1}, 400, min_frequency=2, impl=impl) == [("a", "b"), ("ab", "c")]
    assert learn({"ab": 1, "cd": 1, "bz": 1}, 258, impl=impl) == [("a", "b"), ("b", "z")]
    assert learn({"aaaa": 1}, 400, impl=impl) == [("a", "a"), ("aa", "aa")]
    assert learn({}, 400, impl=impl) == []
    assert learn({"ab": 5}, 256, impl=impl) == []


@given(st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 5), max_size=12))
def test_native_equals_the_reference(words):
    assert learn(words, 300) == learn(words, 300, impl="reference")


@settings(max_examples=30)
@given(st.lists(TEXT, min_size=1, max_size=8), st.sampled_from(list(patterns.NUMBER)), st.integers(0, 3))
def test_vocabulary_equals_that_of_tokenizers(texts, pattern, min_frequency):
    wanted = hugging_face(texts, pattern, 400, min_frequency)
    assert ours(texts, pattern, 400, min_frequency=min_frequency) == wanted


@pytest.mark.parametrize("pattern", list(patterns.NUMBER))
def test_vocabulary_equals_that_of_tokenizers_on_real_text(pattern):
    texts = [Path(m.__file__).read_text(encoding="utf-8") for m in (json, pytest, np.ma, np.linalg)] + SAMPLES
    assert ours(texts, pattern, 1200) == hugging_face(texts, pattern, 1200)


def test_words_are_counted_once_each(impl):
    counter = WordCounter("gpt2", impl=impl)
    counter.add(columns.from_texts(["the cat the", " cat"]))
    counter.add(columns.from_texts(["the"]))
    words, counts = counter.words()
    assert dict(zip([words[i] for i in range(len(words))], counts.tolist())) == {b" cat": 2, b" the": 1, b"the": 2}
    counter.add_counted(words, counts)
    assert counter.words()[1].tolist() == [4, 2, 4]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_do_not_matter(threads):
    texts = SAMPLES * 40
    one = train_bpe(texts, vocab_size=500, threads=1).fingerprint
    assert train_bpe(texts, vocab_size=500, threads=threads).fingerprint == one


def test_byte_alphabet_is_gpt2s():
    assert set(byte_level.alphabet()) == set(pre_tokenizers.ByteLevel.alphabet())
    assert byte_level.to_text(" é\n".encode()) == "ĠÃ©Ċ"
    assert byte_level.to_bytes("ĠÃ©Ċ") == " é\n".encode()
    assert byte_level.to_bytes("漢") is None


def test_refuses():
    with pytest.raises(ValueError, match="vocab_size must hold 256 bytes and 1 special tokens, got 100"):
        train_bpe(["a"], vocab_size=100)
    with pytest.raises(ValueError, match="special_tokens must be distinct"):
        train_bpe(["a"], vocab_size=300, special_tokens=("x", "x"))
    with pytest.raises(TypeError, match="texts must be many texts, or Paths; got one string"):
        train_bpe("a", vocab_size=300)
    with pytest.raises(ValueError, match="counts must be at least 1, got 0"):
        WordCounter("gpt2").add_counted(columns.from_texts(["a"]), np.zeros(1, np.int64))
    with pytest.raises(TypeError, match="counts must have dtype int64, got float64"):
        bpe_train(columns.from_texts(["a"]), np.ones(1), tokens=BYTES, byte_ids=IDS, vocab_size=300)
