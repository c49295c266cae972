"""An extended vocabulary: what is kept, what is new, what it says about itself."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.formats import old_pieces
from fasttrain.text.columns import from_texts
from fasttrain.tokenizer import Tokenizer, train_bpe
from fasttrain.tokenizer.bpe_train import WordCounter
from fasttrain.tokenizer.extend import count_terms, expand, extend
from fasttrain.tokenizer.extend_effects import effect, mined, total
from fasttrain.tokenizer.health import health
from fasttrain.tokenizer.superbpe import train_superbpe
from tokenizer import by_hand
from tokenizer.scripts import SAMPLES, TEXT

DOMAIN = [
    "The erythrocyte and the leukocyte; thrombocytes, HAEMOGLOBIN. ",
    "मधुमेह रोगी, 血糖値と血圧 血糖値",
    "  \t x.views.generic",
] * 5
OLD = train_bpe(SAMPLES * 4, vocab_size=400, pad_to_multiple=8)


def words_of(tokenizer, texts):
    counter = WordCounter(tokenizer.pattern)
    counter.add(from_texts(texts))
    return counter.words()


def ignoring_merges(tokenizer):
    from dataclasses import replace

    return Tokenizer(replace(tokenizer.vocabulary, ignore_merges=True))


@pytest.fixture(scope="module", params=["merges", "ignore_merges"])
def made(request):
    old = OLD if request.param == "merges" else ignoring_merges(OLD)
    return old, extend(old, *words_of(old, DOMAIN), num_tokens=60, pad_to_multiple=16)


@given(text=TEXT | st.text(st.sampled_from("erythocyle 血糖値圧मधुेह.viws"), max_size=80))
def test_new_ids_put_back_into_old_pieces_are_the_old_ids(made, text):
    old, extension = made
    ids = extension.tokenizer.encode(text)
    assert expand(ids, extension.pieces) == old.encode(text).tolist()
    assert len(ids) <= len(old.encode(text))
    assert extension.tokenizer.decode(ids) == text


def test_old_ids_and_merges_stay_and_the_size_is_a_multiple(made):
    old, extension = made
    v, w = old.vocabulary, extension.tokenizer.vocabulary
    assert w.tokens[: len(v.tokens)] == v.tokens
    assert np.array_equal(w.pairs[: len(v.pairs)], v.pairs)
    assert dict(w.special) | dict(v.special) == dict(w.special)
    assert extension.tokenizer.vocab_size % 16 == 0
    assert len(extension.merges) >= 60
    assert len(w.tokens) == len(v.tokens) + len(extension.merges) + extension.reserved
    assert health(extension.tokenizer).unreachable == health(old).unreachable


def test_each_new_token_has_its_old_pieces(made):
    old, extension = made
    tokens = extension.tokenizer.vocabulary.tokens
    for i, pieces in extension.pieces.pieces.items():
        assert b"".join(old.vocabulary.tokens[k] for k in pieces) == tokens[i]
        assert len(pieces) >= 2
    assert set(extension.pieces.pieces) == {i for _, _, i in extension.merges}


def test_the_domain_gets_shorter_by_what_is_reported(made):
    old, extension = made
    words = words_of(old, DOMAIN)
    found = effect(old, extension, words)
    before, after = (len(t.encode_batch(DOMAIN)[0]) for t in (old, extension.tokenizer))
    assert (found.old_tokens, found.new_tokens) == (before, after)
    assert after < before
    assert found.bytes == sum(len(t.encode()) for t in DOMAIN)
    assert sum(m["saved"] for m in mined(old, extension, words)) == before - after
    assert total({"a": found, "b": found}).old_tokens == 2 * before


def test_effect_worked_by_hand():
    old = by_hand.make([(b"a", b"b")])
    extension = extend(old, from_texts(["abab", "cc"]), np.array([5, 3]), num_tokens=1, pad_to_multiple=1)
    assert extension.merges == [(256, 256, 257)]
    assert extension.pieces.pieces == {257: [256, 256]}
    found = effect(old, extension, (from_texts(["ab", "abab", "cc"]), np.array([2, 5, 1])))
    # ab 1 -> 1, abab 2 -> 1, cc 2 -> 2
    assert found.to_dict() == {
        "bytes": 26, "old_tokens": 14, "new_tokens": 9, "pretokens": 8, "changed_pretokens": 5,
        "saved": 1 - 9 / 14, "changed": 5 / 8,
    }  # fmt: skip
    (top,) = mined(old, extension, (from_texts(["abab", "cc"]), np.array([5, 9])))
    assert (top["text"], top["occurrences"], top["old_tokens"], top["new_tokens"], top["saved"]) == ("abab", 5, 2, 1, 5)


def test_ids_of_tokens_that_no_text_gives_are_reused():
    old = by_hand.make([(b"a", b"b"), (b"b", b"c"), (b"a", b"bc"), (b"abc", b"d")], extra=[b"zzz"])
    dead = [i for i, t in enumerate(old.vocabulary.tokens) if t in (b"abc", b"abcd", b"zzz")]
    words = (from_texts(["abcd", "wxyz", "qr"]), np.array([9, 8, 7]))
    extension = extend(old, *words, num_tokens=5, pad_to_multiple=1, min_frequency=1)
    # (ab, c) spells "abc", which is a token still while ids are given out, so c+d goes first.
    assert extension.reused == dead
    assert extension.tokenizer.vocab_size == old.vocab_size + 2
    for text in ("abcd", "abc", "wxyz", "zzz", "bcd qr"):
        ids = extension.tokenizer.encode(text)
        assert expand(ids, extension.pieces) == old.encode(text).tolist()
        assert extension.tokenizer.decode(ids) == text
    kept = extend(old, *words, num_tokens=5, pad_to_multiple=1, min_frequency=1, prune=False)
    assert kept.tokenizer.vocabulary.tokens[: old.vocab_size] == old.vocabulary.tokens
    assert kept.tokenizer.vocab_size == old.vocab_size + 5


def test_when_pairs_run_out_reserved_tokens_fill_the_multiple():
    old = by_hand.make([], special=("<|endoftext|>", "<|reserved_0|>"))
    extension = extend(old, from_texts(["ab"]), np.array([9]), num_tokens=100, pad_to_multiple=64)
    assert [m[2] for m in extension.merges] == [258]
    assert extension.reserved == 320 - 259
    names = list(extension.tokenizer.special_tokens)
    assert names[:3] == ["<|endoftext|>", "<|reserved_0|>", "<|reserved_1|>"]
    assert len(names) == len(set(names)) == 2 + extension.reserved


def test_terms_are_counted_as_in_running_text():
    counter = WordCounter("cl100k")
    count_terms(["red cell", "cell"], counter, 7)
    words, counts = counter.words()
    assert {words[n]: c for n, c in enumerate(counts.tolist())} == {b" red": 7, b" cell": 14}


def test_terms_alone_become_single_tokens():
    counter = WordCounter(OLD.pattern)
    count_terms(["erythrocyte", "血糖値"], counter, 5)
    extension = extend(OLD, *counter.words(), num_tokens=40, pad_to_multiple=1)
    for term in ("erythrocyte", "血糖値"):
        assert len(extension.tokenizer.encode(f" {term}")) == 1


def test_refusals(tmp_path):
    import base64

    with pytest.raises(ConfigError, match="there is no text to learn from"):
        extend(OLD, from_texts([]), np.zeros(0, np.int64), num_tokens=5)
    path = tmp_path / "r.tiktoken"
    tokens = [*(bytes([b]) for b in range(256)), b"ab"]
    path.write_bytes(b"".join(b"%s %d\n" % (base64.b64encode(t), i) for i, t in enumerate(tokens)))
    ranked = Tokenizer.load(path, pattern="cl100k")
    with pytest.raises(ConfigError, match="has rank semantics .*make a merge list of it with `tokenizer convert`"):
        extend(ranked, from_texts(["abc"]), np.array([9]), num_tokens=5)


def test_the_map_is_read_back_and_refused_when_it_is_none(made, tmp_path):
    _, extension = made
    path = tmp_path / "old_pieces.json"
    extension.pieces.write(path)
    assert old_pieces.read(path) == extension.pieces
    text = path.read_text()
    for change, words in (
        (text.replace('"format": 1', '"format": 9'), "must be an old-pieces map of format 1"),
        (text.replace('"old_vocab_size"', '"size"'), "not an old-pieces map .*old_vocab_size"),
        (
            text.replace(f'"old_vocab_size": {extension.pieces.old_vocab_size}', '"old_vocab_size": 3'),
            r"pieces\.\d+: must be an id below \d+ with pieces below 3",
        ),
        ("[]", "must be an old-pieces map"),
        ("{", "not valid JSON"),
    ):
        path.write_text(change)
        with pytest.raises(FormatError, match=words):
            old_pieces.read(path)


def lake_texts():
    from pathlib import Path

    from fasttrain.corpus.config import SourceConfig
    from fasttrain.corpus.sample import read_documents

    found = []
    source = SourceConfig(name="demo", path="package:demo_lake")
    read_documents([source], Path.cwd(), lambda batch: found.extend(batch.column("text").to_pylist()))
    return found


def test_trained_and_extended_give_the_same_ids_in_transformers_over_the_lake(tmp_path):
    transformers = pytest.importorskip("transformers")
    texts = lake_texts()
    assert sum(map(len, texts)) > 500_000
    trained = train_bpe(texts[::2], vocab_size=2048)
    extended = extend(trained, *words_of(trained, texts[1::2]), num_tokens=200).tokenizer
    for name, tokenizer in (("trained", trained), ("extended", extended)):
        folder = tmp_path / name
        folder.mkdir()
        tokenizer.save(folder)
        fast = transformers.PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"))
        assert len(fast) == tokenizer.vocab_size
        ids, offsets = tokenizer.encode_batch(texts)
        theirs = fast(texts)["input_ids"]
        assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == theirs
        assert Tokenizer.load(folder).fingerprint == tokenizer.fingerprint


@pytest.mark.parametrize("max_spaces", [1, 2, 4])
def test_new_superwords_hold_at_most_max_spaces(max_spaces):
    texts = ["in the middle of the long night of the year\n"] * 20
    old = train_superbpe(texts, vocab_size=270, subword_size=270).tokenizer()
    words = words_of(old, texts)
    unbounded, extension = (
        extend(old, *words, num_tokens=64, pad_to_multiple=1, max_spaces=m) for m in (99, max_spaces)
    )
    most = [max(e.tokenizer.vocabulary.tokens[i].count(b" ") for _, _, i in e.merges) for e in (unbounded, extension)]
    assert most[0] > 4
    assert most[1] == max_spaces
    assert expand(extension.tokenizer.encode(texts[0]), extension.pieces) == old.encode(texts[0]).tolist()


def test_spaces_of_other_vocabularies_are_not_bounded():
    old = by_hand.make([])
    extension = extend(old, from_texts([" " * 16]), np.array([9]), num_tokens=8, pad_to_multiple=1, max_spaces=1)
    assert max(extension.tokenizer.vocabulary.tokens[i].count(b" ") for _, _, i in extension.merges) == 16


def test_max_spaces_is_at_least_one():
    with pytest.raises(ValueError, match="max_spaces must be at least 1, got 0"):
        extend(OLD, from_texts(["ab"]), np.array([9]), num_tokens=5, max_spaces=0)
