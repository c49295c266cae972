"""What train_bpe offers around learning: tie-breaks, given tokens, sizes, weights, the bound on words."""

import json
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFace

from fasttrain.text import columns
from fasttrain.text.hash128 import hash128
from fasttrain.tokenizer import bpe_train_ref, patterns, train_bpe, weighting
from fasttrain.tokenizer.read_texts import lines_of
from fasttrain.tokenizer.train_bpe import count_texts, train_bpe_nested
from tokenizer.scripts import SAMPLES, TEXT

CODE = [Path(m.__file__).read_text(encoding="utf-8") for m in (json, random, np.ma)]
OPTIONS = [
    {},
    {"tie_break": "rustbpe"},
    {"given_tokens": ("->", "!==", "\t\t", "self"), "whitespace_runs": 11},
    {"split_digits": True, "tie_break": "rustbpe", "whitespace_runs": 4},
    {"pad_to_multiple": 128, "special_tokens": ("<|endoftext|>", "<|pad|>")},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("pattern", ["cl100k", "gpt2"])
def test_files_load_in_tokenizers_with_the_same_ids(tmp_path, options, pattern):
    tokenizer = train_bpe(CODE + SAMPLES, vocab_size=900, pattern=pattern, **options)
    tokenizer.save(tmp_path / "tokenizer.json")
    theirs = HuggingFace.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == len(tokenizer.vocabulary.tokens)
    for text in (*SAMPLES, *CODE[:2]):
        ids = tokenizer.encode(text)
        assert theirs.encode(text, add_special_tokens=False).ids == ids.tolist()
        assert tokenizer.decode(ids) == text


def test_rustbpes_order_of_ids():
    tokenizer = train_bpe(CODE, vocab_size=300, tie_break="rustbpe", special_tokens=("<|a|>", "<|b|>"))
    tokens = tokenizer.vocabulary.tokens
    assert tokens[:256] == tuple(bytes([b]) for b in range(256))
    assert tokenizer.vocabulary.special == {"<|a|>": 298, "<|b|>": 299}
    assert len(tokens) == 300
    assert tokens[256:258] == (b"  ", b"    ")


def test_every_run_of_spaces_is_one_token():
    tokenizer = train_bpe(["no spaces but these"], vocab_size=320, whitespace_runs=37, pattern="gpt2")
    for n in range(1, 38):
        assert tokenizer.decode(tokenizer.encode(" " * n)) == " " * n
        assert len(tokenizer.encode(" " * n)) == 1
    assert len(tokenizer.encode(" " * 38)) == 2


@settings(max_examples=50)
@given(st.lists(st.text("ab-=", min_size=1, max_size=7).filter(lambda t: t.isalpha() or not set(t) & set("ab"))))
def test_given_tokens_are_single_tokens(given_tokens):
    tokenizer = train_bpe(["abba -- aa"], vocab_size=400, given_tokens=given_tokens)
    for text in given_tokens:
        [i] = tokenizer.encode(text).tolist()
        assert tokenizer.vocabulary.tokens[i] == text.encode()


def test_no_token_holds_two_digits():
    texts = [f"{n} {n * n}, v{n}.{n}: 12:30 1999" for n in range(3000)]
    for tie_break in ("hf", "rustbpe"):
        tokenizer = train_bpe(texts, vocab_size=700, pattern="gpt2", split_digits=True, tie_break=tie_break)
        digits = Counter(sum(chr(b).isdigit() for b in t) for t in tokenizer.vocabulary.tokens[:-1])
        assert set(digits) == {0, 1}
        assert b" 1" in tokenizer.vocabulary.tokens
        assert len(tokenizer.encode("20261127")) == 8


@pytest.mark.parametrize("options", OPTIONS)
def test_sizes_of_one_training_equal_those_alone(options):
    sizes = [700, 300, 512]
    texts = CODE + SAMPLES
    nested = train_bpe_nested(texts, vocab_sizes=sizes, **options)
    for size, tokenizer in zip(sizes, nested):
        assert tokenizer.fingerprint == train_bpe(texts, vocab_size=size, **options).fingerprint
        ordinary = len(tokenizer.vocabulary.pairs)
        assert nested[0].vocabulary.pairs[:ordinary].tolist() == tokenizer.vocabulary.pairs.tolist()
        assert tokenizer.vocab_size % options.get("pad_to_multiple", 1) == 0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_neither_threads_nor_order_matter(weighted, threads):
    sources = {"code": CODE * 3, "scripts": SAMPLES}
    weights = {"code": 0.3, "scripts": 0.7} if weighted else None
    one = train_bpe(sources, vocab_size=600, weights=weights, threads=1).fingerprint
    turned = {"scripts": SAMPLES[::-1], "code": CODE * 3}
    assert train_bpe(turned, vocab_size=600, weights=weights, threads=threads).fingerprint == one


def test_weights_are_shares_whatever_the_sizes():
    """Three times the weight of its size is the same as the text three times."""
    sources = {"a": CODE[:1], "b": CODE[1:2]}
    size = {s: len(t[0].encode()) for s, t in sources.items()}
    once, thrice = (train_bpe(t, vocab_size=500).fingerprint for t in (CODE[:2], [CODE[0]] * 3 + [CODE[1]]))
    assert train_bpe(sources, vocab_size=500, weights=size).fingerprint == once
    weights = {"a": 3 * size["a"], "b": size["b"]}
    assert train_bpe(sources, vocab_size=500, weights=weights).fingerprint == thrice != once
    assert (
        train_bpe(sources, vocab_size=500, weights={"b": 1}).fingerprint
        == train_bpe(CODE[1:2], vocab_size=500).fingerprint
    )
    assert train_bpe(sources, vocab_size=700, weights=size, min_frequency=9).fingerprint == (
        train_bpe(CODE[:2], vocab_size=700, min_frequency=9).fingerprint
    )


CELLS = st.dictionaries(st.tuples(st.sampled_from("abc"), st.sampled_from("xyz")), st.integers(1, 10**6), min_size=1)


@given(CELLS, st.data())
def test_multipliers_give_each_source_its_share(sizes, data):
    sources = {s for s, _ in sizes}
    shares = {s: data.draw(st.floats(0.1, 9)) for s in sources}
    languages = {lang: data.draw(st.sampled_from([0.5, 1.0, 3.0])) for _, lang in sizes}
    times = weighting.multipliers(sizes, shares, languages)
    trained = Counter()
    for cell, m in times.items():
        trained[cell[0]] += Fraction(m * sizes[cell])
    for s in sources:
        # Each multiplier is rounded once, by at most a half.
        slack = sum(sizes.values()) / Fraction(2)
        wanted = Fraction(shares[s]) / sum(map(Fraction, shares.values())) * sum(sizes.values()) * weighting.UNIT
        assert abs(trained[s] - wanted) <= slack
    for (s, lang), m in times.items():
        for (other, lang2), m2 in times.items():
            if s == other:  # within a source, languages stand in the ratio asked for
                a, b = Fraction(languages[lang]), Fraction(languages[lang2])
                assert abs(m * b - m2 * a) <= (a + b) / 2


def test_multipliers_by_hand():
    sizes = {("web", "en"): 300, ("web", "fr"): 100, ("code", "unknown"): 400}
    unit = weighting.UNIT
    assert set(weighting.multipliers(sizes, None).values()) == {unit}
    assert weighting.multipliers(sizes, {"web": 3, "code": 1}) == {
        ("web", "en"): unit * 3 // 2, ("web", "fr"): unit * 3 // 2, ("code", "unknown"): unit // 2,
    }  # fmt: skip
    assert weighting.multipliers(sizes, {"web": 1.0}, {"fr": 3.0}) == {
        ("web", "en"): round(unit * Fraction(800, 600)), ("web", "fr"): unit * 4, ("code", "unknown"): 0,
    }  # fmt: skip


def test_a_bound_on_words_takes_fewer_texts(caplog):
    texts = [f"word{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{n % 90:x} {n} common" for n in range(2000)]
    all_words = len(bpe_train_ref.count_words([t.encode() for t in texts], "cl100k"))
    assert all_words > 1000
    ends = hash128(columns.from_texts(texts))[:, 0]
    level = next(k for k in range(20) if _distinct(texts, ends, k) <= 900)
    assert level > 0
    wanted = train_bpe([t for t, e in zip(texts, ends.tolist()) if e % 2**level == 0], vocab_size=400)
    for given_texts, threads in ((texts, 1), (texts[::-1], 4), (pa_column(texts), 2)):
        caplog.clear()
        found = train_bpe(given_texts, vocab_size=400, max_words=900, threads=threads)
        assert found.fingerprint == wanted.fingerprint
        assert f"more than 900 distinct pretokens; one text in {2**level} was trained on" in caplog.text
    caplog.clear()
    assert (
        train_bpe(texts, vocab_size=400, max_words=all_words).fingerprint
        == train_bpe(texts, vocab_size=400).fingerprint
    )
    assert not caplog.text


def _distinct(texts, ends, level):
    kept = [t.encode() for t, e in zip(texts, ends.tolist()) if e % 2**level == 0]
    return len(bpe_train_ref.count_words(kept, "cl100k"))


def pa_column(texts):
    return columns.to_arrow(columns.from_texts(texts))


@given(st.lists(TEXT, min_size=1, max_size=6), st.sampled_from(list(patterns.NUMBER)))
def test_words_equal_the_reference(texts, pattern):
    raw = [t.encode() for t in texts]
    if not any(raw):
        return
    words, counts = count_texts(raw, pattern=pattern)
    found = {words[n]: c for n, c in enumerate(counts.tolist())}
    assert found == bpe_train_ref.count_words(raw, pattern)
    assert list(found) == sorted(found)


@given(st.text("ab\n", min_size=1, max_size=60), st.integers(1, 9))
def test_lines_keep_their_ends(tmp_path_factory, text, block):
    path = tmp_path_factory.getbasetemp() / "lines.txt"
    path.write_bytes(text.encode())
    found = [column[n] for column in lines_of(path, block) for n in range(len(column))]
    assert found == text.encode().splitlines(keepends=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"texts": []}, "there must be text to train on, got none"),
        ({"texts": ["", ""]}, "there must be text to train on, got none"),
        ({"tie_break": "tiktoken"}, "tie_break must be one of hf, rustbpe, got 'tiktoken'"),
        ({"pattern": "none"}, "pattern must be one of .*, got 'none'"),
        ({"weights": {"a": 1}}, "weights need texts by source"),
        ({"texts": {"a": ["x"]}, "weights": {"b": 1}}, r"weights must name a source of the text \(a\), got 'b'"),
        ({"texts": {"a": ["x"]}, "weights": {"a": -1}}, "weight of source 'a' must be a number >= 0, got -1"),
        ({"texts": {"a": ["x"]}, "weights": {"a": 0}}, "at least one weight must be > 0"),
        ({"texts": iter(["a"]), "max_words": 9}, "texts must be a list, column or Paths, which can be read again"),
        ({"texts": ["a b c d e"], "max_words": 2}, "max_words = 2 is less than one text holds"),
        (
            {"given_tokens": ("a b",)},
            r"given token 'a b' must be one piece of pattern cl100k, which cuts \['a', ' b'\]",
        ),
        ({"vocab_size": 258, "whitespace_runs": 9}, "the given tokens with their parts, 265 in all, got 258"),
        ({"special_tokens": ("", "x")}, "special_tokens must be distinct and not empty"),
    ],
)
def test_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        train_bpe(**{"texts": ["some text"], "vocab_size": 300} | options)
