import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as HuggingFace

from fasttrain.core import backend
from fasttrain.text import columns
from fasttrain.tokenizer import byte_level, learn_bpe, patterns, tokenizer_json
from fasttrain.tokenizer.bpe_train import WordCounter, bpe_train
from fasttrain.tokenizer.train_bpe import train_bpe
from tokenizer.scripts import SAMPLES, TEXT

OP = "bpe_train"
BYTES = [bytes([b]) for b in range(256)]


def arrays(words):
    """Counted words as the arguments of bpe_train; bytes are their own ids."""
    column = columns.from_texts(words)
    return column.data.astype(np.uint32), column.offsets, np.array(list(words.values()), np.int64)


def learn(words, vocab_size, **kw):
    """Merges of counted words as strings."""
    pairs, ids = bpe_train(*arrays(words), tokens=BYTES, vocab_size=vocab_size, **kw)
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


WORDS = st.dictionaries(st.text("abc", min_size=1, max_size=9), st.integers(1, 5), max_size=12)


@given(WORDS, st.booleans(), st.integers(0, 4))
def test_native_equals_the_reference(words, reuses_ids, min_frequency):
    kw = {"reuses_ids": reuses_ids, "min_frequency": min_frequency}
    assert learn(words, 300, **kw) == learn(words, 300, impl="reference", **kw)


@given(WORDS, st.lists(st.tuples(*[st.sampled_from("abc")] * 2), max_size=3, unique=True), st.booleans())
def test_given_merges_come_first(words, given, reuses_ids):
    tokens = [*BYTES, *((a + b).encode() for a, b in given)]
    rules = np.array([(ord(a), ord(b), 256 + k) for k, (a, b) in enumerate(given)], np.uint32).reshape(-1, 3)
    found = [bpe_train(*arrays(words), tokens=tokens, vocab_size=300, reuses_ids=reuses_ids, given=rules, impl=impl)
             for impl in backend.implementations(OP)]  # fmt: skip
    for pairs, ids in found[1:]:
        assert pairs.tolist() == found[0][0].tolist()
        assert ids.tolist() == found[0][1].tolist()


@given(WORDS, st.integers(0, 4), st.booleans())
def test_no_token_is_larger_than_the_bound(words, max_size, reuses_ids):
    """Here the size of a token is how many b it holds."""
    sizes = np.array([t == b"b" for t in BYTES], np.uint32)
    kw = {"token_sizes": sizes, "max_size": max_size, "reuses_ids": reuses_ids}
    found = learn(words, 300, **kw)
    assert found == learn(words, 300, impl="reference", **kw)
    assert all((left + right).count("b") <= max_size for left, right in found)


def rustbpe(words, vocab_size):
    """Its rule, every count made anew at each step: the most frequent pair, of equals the smallest, gets a new id."""
    symbols = {w: list(w.encode()) for w in words}
    merges = []
    while len(merges) < vocab_size - 256:
        total = Counter()
        for w, s in symbols.items():
            # Of overlapping equal pairs ("aaa") all are counted, as rustbpe does.
            for pair in pairwise(s):
                total[pair] += words[w]
        if not total:
            break
        best = min(total, key=lambda pair: (-total[pair], pair))
        merges.append(best)
        for s in symbols.values():
            i = 0
            while i + 1 < len(s):
                if (s[i], s[i + 1]) == best:
                    s[i : i + 2] = [255 + len(merges)]
                i += 1
    return merges


@given(WORDS)
def test_without_used_ids_it_is_rustbpes_rule(words):
    pairs, ids = bpe_train(*arrays(words), tokens=BYTES, vocab_size=290, reuses_ids=False)
    assert [tuple(p) for p in pairs.tolist()] == rustbpe(words, 290)
    assert ids.tolist() == list(range(256, 256 + len(ids)))


@given(st.permutations(["abab", "baba", "aabb", "bb", "cab"]), st.booleans())
def test_the_order_of_words_does_not_matter(words, reuses_ids):
    """With ties everywhere: all counts are equal."""
    learnt = [learn(dict.fromkeys(w, 7), 280, reuses_ids=reuses_ids) for w in (words, sorted(words))]
    assert learnt[0] == learnt[1]


def test_counts_beyond_32_bits(impl):
    words = {"ab": 2**31, "cd": 2**31 + 1, "abcd": 2**33, "ef": 2**40}
    assert learn(words, 259, impl=impl) == [("e", "f"), ("c", "d"), ("a", "b")]
    with pytest.raises(ValueError, match=r"counts times lengths must sum to less than 2\^62, got 9.22e\+18"):
        learn({"ab": 2**62}, 259, impl=impl)


@pytest.mark.parametrize("text", ["a" * 20_000, "ab" * 9_999, "".join(chr(97 + n * n % 26) for n in range(3000))])
def test_one_long_piece(text):
    wanted = hugging_face([text], "gpt2", 300)
    assert ours([text], "gpt2", 300) == wanted


def test_of_tokens_that_spell_the_same_the_last_stays():
    learned = learn_bpe.Learned(
        [*BYTES, b"ab", b"bc", b"abc", b"abc", b"abcd"],
        np.array([[97, 98], [98, 99], [256, 99], [97, 257], [258, 100]], np.uint32),
        np.arange(256, 261, dtype=np.uint32), (), "gpt2", "rustbpe",
    )  # fmt: skip
    vocabulary = learned.vocabulary()
    assert vocabulary.tokens[258:] == (b"", b"abc", b"abcd")
    assert vocabulary.pairs.tolist() == [[97, 98], [98, 99], [256, 99], [97, 257], [259, 100]]
    assert vocabulary.id_of_rank.tolist() == [256, 257, 259, 259, 260]


@settings(max_examples=30)
@given(st.lists(TEXT, min_size=1, max_size=8), st.sampled_from(list(patterns.NUMBER)), st.integers(0, 3))
def test_vocabulary_equals_that_of_tokenizers(texts, pattern, min_frequency):
    if not any(texts):
        return  # refused here
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
    symbols, offsets, counts = arrays({"a": 1})
    for changed, words in (
        ({"counts": np.ones(1)}, "counts must have dtype int64, got float64"),
        ({"symbols": np.array([256], np.uint32)}, "symbols must be ids of the 256 initial tokens, got 256"),
        ({"given": np.array([[0, 1, 256]], np.uint32)}, "given must be ids of the 256 initial tokens, got 256"),
        ({"vocab_size": 255}, "vocab_size must be at least the 256 initial tokens and below"),
        ({"vocab_size": 2**32}, "vocab_size must be at least the 256 initial tokens and below"),
        ({"counts": np.zeros(1, np.int64)}, "counts must be at least 1, got 0"),
    ):
        args = {"symbols": symbols, "offsets": offsets, "counts": counts, "tokens": BYTES, "vocab_size": 300} | changed
        with pytest.raises((TypeError, ValueError), match=words):
            bpe_train(**args)
