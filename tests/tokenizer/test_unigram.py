import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core import backend
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer.sentencepiece_file import read
from fasttrain.tokenizer.sentencepiece_pieces import Pieces
from fasttrain.tokenizer.unigram import unigram
from tokenizer import pieces
from tokenizer.scripts import SAMPLES

OP = "unigram"
ALPHABET = [("▁", -3.0), ("a", -3.0), ("b", -3.5), ("c", -4.0)]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    def make(rows, **options):
        path = tmp_path_factory.mktemp("model") / "m.model"
        path.write_bytes(pieces.model(rows, algorithm="unigram", **options))
        return Pieces(read(path))

    return make


def texts_of(model, texts, impl):
    ids, offsets = unigram(model, from_texts(texts), impl=impl, threads=1)
    return [[model.model.pieces[i].decode() for i in ids[a:b]] for a, b in itertools.pairwise(offsets)]


def test_worked_by_hand(impl, load):
    model = load([*ALPHABET, ("ab", -5.0), ("bc", -4.0), ("abc", -7.5)])
    # abc: a bc -7, abc -7.5, ab c -9, a b c -10.5. ab: -5 against -6.5.
    assert texts_of(model, ["abc", "ab", "abab", "", "▁abc"], impl) == [
        ["a", "bc"], ["ab"], ["ab", "ab"], [], ["▁", "a", "bc"],
    ]  # fmt: skip


def test_of_equal_paths_the_one_found_first_stays(impl, load):
    # aab: "aa" b and a "ab" are -4 both; the piece that begins first reaches the end later. At the end of "aab": from a
    # (begun at 1) "ab" comes before from aa (begun at 2) "b".
    model = load([("a", -2.0), ("b", -2.0), ("aa", -2.0), ("ab", -2.0)])
    assert texts_of(model, ["aab"], impl) == [["a", "ab"]]


def test_unknown_characters_are_bytes_or_one_unknown(impl, load):
    assert texts_of(load(ALPHABET, byte_fallback=True), ["aé"], impl) == [["a", "<0xC3>", "<0xA9>"]]
    assert texts_of(load(ALPHABET), ["aéxb", "éé"], impl) == [["a", "<unk>", "b"], ["<unk>"]]
    # A character that only stands inside longer pieces is unknown by itself.
    assert texts_of(load([("a", -1.0), ("xy", -2.0)]), ["axa", "axya"], impl) == [["a", "<unk>", "a"], ["a", "xy", "a"]]


def test_user_defined_and_unused_pieces(impl, load):
    # A user-defined symbol scores 0.1 * bytes - 0.1 = 0.2, whatever its score says.
    model = load([*ALPHABET, ("abc", 0.0, 4), ("cc", -0.1, 5)])
    assert texts_of(model, ["abca", "cc"], impl) == [["abc", "a"], ["c", "c"]]


def test_sums_count_on_from_zero_in_long_texts(impl, load):
    # a b is better than ab by 0.002. Beyond -65,536 float32 has steps of 0.0078, so both round alike and ab, found
    # first, stays; at -100,000 the sums begin anew and see it again. Each c before takes 3.
    model = load([("c", -3.0), ("a", -2.001), ("b", -2.0), ("ab", -4.003)])
    assert texts_of(model, ["c" * 33_000 + "ab"], impl)[0][-2:] == ["c", "ab"]
    assert texts_of(model, ["c" * 34_000 + "ab"], impl)[0][-2:] == ["a", "b"]


TEXT = st.text(st.sampled_from("▁▁aabbccé漢"), max_size=40)


@given(texts=st.lists(TEXT, max_size=5), fallback=st.booleans(), data=st.data())
def test_equals_the_reference(load, texts, fallback, data):
    names = data.draw(st.lists(st.text("▁abc", min_size=2, max_size=5), max_size=10, unique=True))
    scores, kinds = st.sampled_from([-5.0, -6.0, -6.5, -9.25]), st.sampled_from([1, 1, 1, 4, 5])
    model = load(ALPHABET + [(n, data.draw(scores), data.draw(kinds)) for n in names], byte_fallback=fallback)
    wanted = unigram(model, from_texts(texts), impl="reference")
    for impl in backend.implementations(OP):
        found = unigram(model, from_texts(texts), impl=impl, threads=2)
        assert found[0].tolist() == wanted[0].tolist()
        assert found[1].tolist() == wanted[1].tolist()


def test_a_slice_of_a_column_and_any_number_of_threads(impl, load):
    model = load([*ALPHABET, ("ab", -5.0)], byte_fallback=True)
    column = from_texts([t.replace(" ", "▁") for t in SAMPLES * 3])
    whole, offsets = unigram(model, column, impl=impl, threads=1)
    part, _ = unigram(model, TextColumn(column.data, column.offsets[3:20]), impl=impl, threads=3)
    assert part.tolist() == whole[offsets[3] : offsets[19]].tolist()


def test_refusals(load):
    model = load(ALPHABET)
    with pytest.raises(TypeError, match="unigram: data must have dtype uint8"):
        unigram(model, TextColumn(np.zeros(3, np.int8), np.array([0, 3])))
    with pytest.raises(ValueError, match="unigram: impl 'x' cannot run here"):
        unigram(model, from_texts(["a"]), impl="x")


def test_a_stretch_met_before_is_searched_again_where_rounding_can_turn_it(impl, load):
    # As above, but in one call: "ab" is remembered as a b from the first text, and must not be taken from memory in the
    # second, where the sum before it is so large that both round alike.
    model = load([("c", -3.0), ("a", -2.001), ("b", -2.0), ("ab", -4.003)])
    texts = ["ab", "c" * 33_000 + "ab", "ab", "c" * 34_000 + "ab"]
    assert [t[-2:] for t in texts_of(model, texts, impl)] == [["a", "b"], ["c", "ab"], ["a", "b"], ["a", "b"]]


@pytest.mark.parametrize("fallback", [False, True])
def test_unknown_characters_met_before_score_what_they_did(impl, load, fallback):
    # As above, with sums of unknown characters from memory, each -4.003 - 10 once, however many bytes it gives.
    model = load([("a", -2.001), ("b", -2.0), ("ab", -4.003)], byte_fallback=fallback)
    texts = [c * n + "ab" for n in (1, 7000, 7200) for c in ("é", "漢", "x")]
    found = texts_of(model, texts, impl)
    assert found == texts_of(model, texts, "reference")
    assert [t[-2:] for t in found[:2]] == [["a", "b"]] * 2
    assert found[3][-1] == "ab"
    assert found[6][-2:] == ["a", "b"]


def test_a_stretch_too_long_to_remember(impl, load):
    model = load([*ALPHABET, ("ab", -5.0)])
    texts = ["ab" * 127 + "a", "ab" * 128, "▁" + "ab" * 200 + "▁c"] * 2
    assert texts_of(model, texts, impl) == texts_of(model, texts, "reference")
