"""Every figure of the tokenizer report against values worked by hand."""

import json
import math

import numpy as np
import pytest
from hypothesis import given

from fasttrain.core.errors import ConfigError
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer import Tokenizer, judge, train_bpe
from fasttrain.tokenizer.fragmentation import fragmentation, read_terms
from fasttrain.tokenizer.health import health
from fasttrain.tokenizer.judge import Judge, premiums, renyi_efficiency, rough_premiums
from fasttrain.tokenizer.words import words
from tokenizer import by_hand
from tokenizer.scripts import SAMPLES, TEXT

# "ab" is 256, "abc" 257, " ab" 258.
TOKENIZER = by_hand.make([(b"a", b"b"), (b"ab", b"c"), (b" ", b"ab")], special=("<|endoftext|>",))


def of(texts):
    found, owner = words(from_texts(texts))
    return [found[n].decode() for n in range(len(found))], owner.tolist()


def test_words_are_runs_of_letters_and_marks_with_the_space_before():
    found = (["Don", "t", " stop", " a", " b", "c", "x", "y"], [0, 0, 0, 1, 1, 1, 2, 2])
    assert of(["Don't stop", " a  b\tc", "x1y"]) == found
    assert of(["हिन्दी भाषा", "né\u0301e", "中文，文"]) == (
        ["हिन्दी", " भाषा", "né\u0301e", "中文", "文"],
        [0, 0, 1, 2, 2],
    )
    assert of([]) == ([], [])
    assert of(["", "12 .", "", "a", "b"]) == (["a", "b"], [3, 4])


@given(TEXT)
def test_a_slice_of_a_column_has_the_words_of_its_texts(text):
    whole = from_texts(["ab cd", text, "ef"])
    found, owner = words(TextColumn(whole.data, whole.offsets[1:3]))
    alone, _ = words(from_texts([text]))
    assert [found[n] for n in range(len(found))] == [alone[n] for n in range(len(alone))]
    assert set(owner.tolist()) <= {0}


def test_counts_and_ratios_of_two_groups():
    found = Judge(TOKENIZER)
    # 257 | 258; 32, 120 -> 3 words of which 2 are one token. Bytes 3 + 3 + 2.
    found.add(from_texts(["abc ab x"]), [("one", "en")])
    # é is two bytes, both of them partial tokens and one word of two tokens; "ab" is one.
    found.add(from_texts(["é", "ab"]), [("two", "fr"), ("two", "en")])
    figures = found.figures()
    one, two = figures["by_source"]["one"], figures["by_source"]["two"]
    assert [one[k] for k in judge.COUNTS] == [1, 8, 8, 4, 0, 3, 4, 2]
    assert [two[k] for k in judge.COUNTS] == [2, 4, 3, 3, 2, 2, 3, 1]
    assert (one["bytes_per_token"], one["fertility"], one["strr"]) == (2.0, round(4 / 3, 5), round(2 / 3, 5))
    assert (two["bytes_per_token"], two["tokens_per_char"]) == (round(4 / 3, 5), 1.0)
    assert two["partial_share"] == round(2 / 3, 5)
    assert [figures["total"][k] for k in judge.COUNTS] == [3, 12, 11, 7, 2, 5, 7, 3]
    assert figures["by_language"]["fr"]["fertility"] == 2.0
    assert figures["by_language"]["en"]["tokens"] == 5
    assert figures["used_tokens"] == 7  # abc, " ab", " ", x; the two bytes of é; ab
    # Seven different tokens once each: log 7 / log 259 at any order.
    assert figures["total"]["renyi"] == pytest.approx(math.log(7) / math.log(259), rel=1e-12)


def test_counts_do_not_depend_on_batches():
    one, many = Judge(TOKENIZER), Judge(TOKENIZER)
    keys = [("s", "en" if n % 2 else "fr") for n in range(len(SAMPLES))]
    one.add(from_texts(SAMPLES), keys)
    for text, key in zip(SAMPLES, keys):
        many.add(from_texts([text]), [key])
    assert one.figures() == many.figures()
    assert one.figures()["total"]["bytes"] == sum(len(t.encode()) for t in SAMPLES)


def test_a_text_without_words_has_no_fertility():
    found = Judge(TOKENIZER)
    found.add(from_texts(["123", ""]), [("s", "en")] * 2)
    total = found.figures()["total"]
    assert (total["fertility"], total["strr"], total["bytes_per_token"]) == (None, None, 1.0)


def test_renyi_efficiency_worked_by_hand():
    assert renyi_efficiency(np.array([5, 5, 5, 5]), 4) == pytest.approx(1.0)
    assert renyi_efficiency(np.array([8, 0]), 2) == pytest.approx(0.0)
    # a = 2: p = 3/4, 1/4: -log(10/16) / log 2
    assert renyi_efficiency(np.array([3, 1]), 2, alpha=2.0) == pytest.approx(math.log2(1.6))
    assert renyi_efficiency(np.zeros(3, np.int64), 3) is None


def test_premiums_of_parallel_text():
    documents = [("en", 100, 20), ("fr", 120, 30), ("fr", 110, 34), ("my", 300, 200), ("zz", 49, 5)]
    found, fragments = premiums(documents)
    assert found == {"en": 1.0, "fr": 1.6, "my": 10.0}
    assert list(found) == ["en", "fr", "my"]
    assert fragments == 1  # 49 bytes of 100 are no whole translation
    with pytest.raises(ConfigError, match="no parallel text in 'en'"):
        premiums([("fr", 1, 1)])


def test_rough_premiums_compare_tokens_a_character():
    rows = {"en": {"tokens_per_char": 0.25}, "zh": {"tokens_per_char": 1.0}, "xx": {"tokens_per_char": None},
            "und": {"tokens_per_char": 1.0}}  # fmt: skip
    assert rough_premiums(rows) == {"en": 1.0, "zh": 4.0}
    assert rough_premiums({"fr": {"tokens_per_char": 0.3}}) == {}
    assert rough_premiums({"en": {"tokens_per_char": 0.3}}) == {}


def test_health_names_each_kind_of_ill_token():
    tokenizer = by_hand.make(
        [(b"a", b"b"), (b"b", b"c"), (b"a", b"bc"), (b"\xe4", b"\xb8"), (b"!", b"a"), (b"!", b"!a")],
        extra=[b"ab", b"zzz", b""],
        special=("<|endoftext|>",),
    )
    # "abc" by a + bc is never met: "ab" merges first. "!!a" is cut by the pattern into "!!" and "a".
    at = {t: i for i, t in reversed(list(enumerate(tokenizer.vocabulary.tokens)))}
    found = health(tokenizer)
    assert found.ordinary == 256 + 6 + 2
    assert (found.special, found.holes) == (1, 1)
    assert found.partial == [*range(128, 256), at[b"\xe4\xb8"]]
    assert found.repeated == [at[b"!!a"] + 1]  # the second "ab"
    assert found.unreachable == sorted([at[b"abc"], at[b"!!a"], at[b"!!a"] + 1, at[b"zzz"]])
    for i in range(len(tokenizer.vocabulary.tokens)):  # what is called reachable is met in some text
        token = tokenizer.vocabulary.tokens[i]
        if token and i not in found.unreachable and i not in found.partial and i != tokenizer.eot_id:
            assert tokenizer.encode(token.decode()).tolist() == [i]


def test_a_partial_token_counts_as_reachable_where_a_character_gives_it():
    tokenizer = by_hand.make([(b"\xe4", b"\xb8")])
    assert 256 in tokenizer.encode("中").tolist()  # e4 b8 ad
    assert health(tokenizer).unreachable == []


def test_a_trained_vocabulary_is_healthy():
    from fasttrain.tokenizer import train_bpe

    tokenizer = train_bpe(SAMPLES * 4, vocab_size=450)
    found = health(tokenizer)
    assert (found.unreachable, found.repeated, found.holes) == ([], [], 0)


def test_fragmentation_of_terms():
    found = fragmentation(TOKENIZER, ["ab", "abc", "xyz é"], shown=2)
    # " ab" is one token; of " abc" ab merges first, then c comes to it: " ", "abc"; " xyz é" has 4 + 1 + 2.
    assert (found["terms"], found["single"], found["mean_pieces"]) == (3, 1 / 3, 10 / 3)
    assert [(w["term"], w["tokens"]) for w in found["worst"]] == [("xyz é", 7), ("abc", 2)]
    assert found["worst"][1]["pieces"] == [" ", "abc"]


def test_terms_are_read_once_each(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_bytes("\ufeffalpha\n\n beta \nalpha\r\n".encode())
    assert read_terms(path) == ["alpha", "beta"]
    path.write_text("\n \n")
    with pytest.raises(ConfigError, match="terms.txt: holds no term"):
        read_terms(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="terms.txt: cannot be read as a list of terms"):
        read_terms(path)
    with pytest.raises(ConfigError, match=r"none.txt: cannot be read"):
        read_terms(tmp_path / "none.txt")


def test_words_of_a_normalised_text_are_those_that_the_tokenizer_sees(tmp_path):
    """Prepend gives each text its space, not each word; a text's bytes are those it came with."""
    made = train_bpe(["ab ab cd"], vocab_size=262, special_tokens=[])
    made.save(tmp_path / "t.json")
    data = json.loads((tmp_path / "t.json").read_text())
    steps = [{"type": "Strip", "strip_left": True, "strip_right": True}, {"type": "Prepend", "prepend": " "}]
    data["normalizer"] = {"type": "Sequence", "normalizers": steps}
    (tmp_path / "n.json").write_text(json.dumps(data))
    plain, normal = Judge(made), Judge(Tokenizer.load(tmp_path / "n.json"))
    plain.add(from_texts([" ab cd", " ab"]), [("s", "en")] * 2)
    normal.add(from_texts(["  ab cd ", "ab"]), [("s", "en")] * 2)
    ours, theirs = (j.figures()["total"] for j in (normal, plain))
    assert ours["bytes"] == 10
    for name in ("tokens", "words", "word_tokens"):
        assert ours[name] == theirs[name]
