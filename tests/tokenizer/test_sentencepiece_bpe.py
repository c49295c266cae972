import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core import backend
from fasttrain.text.columns import TextColumn, from_texts
from fasttrain.tokenizer.sentencepiece_bpe import sentencepiece_bpe
from fasttrain.tokenizer.sentencepiece_file import read
from fasttrain.tokenizer.sentencepiece_pieces import Pieces
from tokenizer import pieces
from tokenizer.scripts import SAMPLES

OP = "sentencepiece_bpe"
ALPHABET = [("▁", -9.0), ("a", -9.0), ("b", -9.0), ("c", -9.0)]
MERGED = [("ab", -1.0), ("bc", -1.0), ("▁a", -2.0), ("abc", -3.0), ("▁ab", -0.5), ("cc", -4.0)]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    def make(rows, **options):
        path = tmp_path_factory.mktemp("model") / "m.model"
        path.write_bytes(pieces.model(rows, **options))
        return Pieces(read(path))

    return make


def texts_of(model, texts, impl, threads=1):
    ids, offsets = sentencepiece_bpe(model, from_texts(texts), impl=impl, threads=threads)
    return [[model.model.pieces[i].decode() for i in ids[a:b]] for a, b in itertools.pairwise(offsets)]


def test_worked_by_hand(impl, load):
    model = load(ALPHABET + MERGED)
    # "▁abc": ab (-1) and bc (-1) tie, the left one merges; ▁+ab scores -0.5 then, before ab+c.
    assert texts_of(model, ["▁abc", "abc", "bcc", "", "▁", "cccc"], impl) == [
        ["▁ab", "c"], ["abc"], ["bc", "c"], [], ["▁"], ["cc", "cc"],
    ]  # fmt: skip


def test_unknown_characters_are_bytes_or_one_unknown(impl, load):
    fallback = load(ALPHABET, byte_fallback=True)
    assert texts_of(fallback, ["aé"], impl) == [["a", "<0xC3>", "<0xA9>"]]
    plain = load(ALPHABET)
    assert texts_of(plain, ["aéxb", "éé", "é▁é"], impl) == [["a", "<unk>", "b"], ["<unk>"], ["<unk>", "▁", "<unk>"]]


def test_a_user_defined_symbol_never_merges(impl, load):
    model = load([*ALPHABET, *MERGED, ("b▁", 0.0, 4)])
    assert texts_of(model, ["ab▁abc"], impl) == [["a", "b▁", "abc"]]


def test_an_unused_piece_is_taken_apart_again(impl, load):
    model = load([*ALPHABET, ("ab", -1.0, 5), ("abc", -2.0), ("aba", -9.0, 5)])
    assert texts_of(model, ["abc", "ab", "aba"], impl) == [["abc"], ["a", "b"], ["a", "b", "a"]]


TEXT = st.text(st.sampled_from("▁▁aabbccé漢"), max_size=40)


@given(texts=st.lists(TEXT, max_size=5), fallback=st.booleans(), inner=st.booleans(), data=st.data())
def test_equals_the_reference(load, texts, fallback, inner, data):
    names = data.draw(st.lists(st.text("▁abc", min_size=2, max_size=5), max_size=10, unique=True))
    # `inner`: pieces that cross into a new word, which then is not encoded alone.
    names = names if inner else [n for n in names if "▁" not in n.lstrip("▁")]
    kinds = st.sampled_from([1, 1, 1, 4, 5])
    rows = [(n, data.draw(st.sampled_from([-1.0, -2.0, -2.5])), data.draw(kinds)) for n in names]
    model = load(ALPHABET + rows, byte_fallback=fallback)
    wanted = sentencepiece_bpe(model, from_texts(texts), impl="reference")
    for impl in backend.implementations(OP):
        found = sentencepiece_bpe(model, from_texts(texts * 2), impl=impl, threads=2)  # the second time from memory
        assert found[0].tolist() == wanted[0].tolist() * 2


def test_a_slice_of_a_column_and_any_number_of_threads(impl, load):
    model = load(ALPHABET + MERGED, byte_fallback=True)
    column = from_texts([t.replace(" ", "▁") for t in SAMPLES * 3])
    whole, offsets = sentencepiece_bpe(model, column, impl=impl, threads=1)
    part, _ = sentencepiece_bpe(model, TextColumn(column.data, column.offsets[3:20]), impl=impl, threads=3)
    assert part.tolist() == whole[offsets[3] : offsets[19]].tolist()


def test_refusals(load):
    model = load(ALPHABET)
    with pytest.raises(TypeError, match="sentencepiece_bpe: data must have dtype uint8"):
        sentencepiece_bpe(model, TextColumn(np.zeros(3, np.int8), np.array([0, 3])))
    with pytest.raises(ValueError, match="sentencepiece_bpe: offsets"):
        sentencepiece_bpe(model, TextColumn(np.zeros(3, np.uint8), np.array([0, 4])))
    with pytest.raises(ValueError, match="sentencepiece_bpe: impl 'x' cannot run here"):
        sentencepiece_bpe(model, from_texts(["a"]), impl="x")


@given(
    data=st.data(),
    fallback=st.booleans(),
    texts=st.lists(st.text(st.sampled_from("▁▁▁ab\ncé漢字かx"), max_size=90), max_size=5),
)
def test_pieces_of_distinct_scores_equal_the_reference(load, data, fallback, texts):
    # Their merges are pairs of symbols, texts are cut where no piece reaches over, and words are remembered.
    names = data.draw(st.lists(st.text("▁abcé漢字か", min_size=1, max_size=6), min_size=1, max_size=24, unique=True))
    order = data.draw(st.permutations(range(len(names))))
    model = load([(n, -float(rank)) for n, rank in zip(names, order)], byte_fallback=fallback)
    texts = [*texts, *(t * 3 for t in texts)]
    wanted = sentencepiece_bpe(model, from_texts(texts), impl="reference")
    for impl in backend.implementations(OP):
        for threads in (1, 3, 1):
            found = sentencepiece_bpe(model, from_texts(texts), impl=impl, threads=threads)
            assert found[0].tolist() == wanted[0].tolist()
            assert found[1].tolist() == wanted[1].tolist()


def test_a_stretch_too_long_to_remember(impl, load):
    model = load(ALPHABET + MERGED)
    texts = ["ab" * 127 + "a", "ab" * 128, "▁" + "ab" * 200 + "▁c"] * 2
    assert texts_of(model, texts, impl) == texts_of(model, texts, "reference")
