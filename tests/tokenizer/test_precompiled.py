"""Maps of SentencePiece as Hugging Face tokenizers 0.23 applies them: every scalar, any grapheme clusters."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import normalizers

from fasttrain.core.errors import FormatError
from fasttrain.tokenizer import grapheme_tables
from fasttrain.tokenizer.normalize_ref import characters
from fasttrain.tokenizer.precompiled import Precompiled
from tokenizer.scripts import SAMPLES
from tokenizer.sentencepiece_trained import trained

SCALARS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
EXTEND, PICTURES, CONSONANTS = (
    "".join(sorted(characters(getattr(grapheme_tables, name)))) for name in ("EXTEND", "PICTURES", "CONSONANTS")
)


def precompiled(charsmap):
    return Precompiled({"precompiled_charsmap": base64.b64encode(charsmap).decode()}, "t.json")


@pytest.fixture(scope="module", params=["nfkc", "folded"])
def both(request, tmp_path_factory):
    model = trained("unigram", request.param, tmp_path_factory.mktemp("maps") / "m.model")[1].model
    return normalizers.Precompiled(model.charsmap), precompiled(model.charsmap)


def test_every_scalar_alone_and_with_a_mark(both):
    theirs, ours = both
    for begin in range(0, len(SCALARS), 64):
        chars = SCALARS[begin : begin + 64]
        text = "".join(f"{c}x{c}\u0301 " for c in chars)
        assert ours(text) == theirs.normalize_str(text)


@given(
    text=st.text(
        st.sampled_from("ae\u0301\u0327\u200d\u094d\u093cकष\u0958\u095f한ㄱᄀ각\u1161\u11a8©®™❤👍🇫")
        | st.sampled_from("\r\n ﬁéﾊﾞ\u0600\u06ddΩ①")
        | st.sampled_from(EXTEND) | st.sampled_from(PICTURES) | st.sampled_from(CONSONANTS)
        | st.characters(exclude_categories=("Cs",)),
        max_size=12,
    )
)  # fmt: skip
def test_any_clusters(both, text):
    theirs, ours = both
    assert ours(text) == theirs.normalize_str(text)


def test_whole_texts_and_no_map(both):
    theirs, ours = both
    assert [ours(t) for t in SAMPLES] == [theirs.normalize_str(t) for t in SAMPLES]
    assert [precompiled(b"")(t) for t in SAMPLES] == SAMPLES


def test_worked_by_hand(both):
    # The cluster of a ligature and an acute begins with a string of the map: what that stands for is all that is left.
    assert both[1]("ﬁ\u0301x ①") == "fix 1"


@pytest.fixture(scope="module")
def charsmap(tmp_path_factory):
    return trained("unigram", "nfkc", tmp_path_factory.mktemp("map") / "m.model")[1].model.charsmap


@given(data=st.binary(max_size=60), cut=st.integers(0, 400_000), at=st.integers(0, 200_000))
def test_a_damaged_map_is_a_clear_error(charsmap, data, cut, at):
    raw = charsmap[:at] + data + charsmap[at + len(data) : cut]
    words = "t.json: normalizer Precompiled.precompiled_charsmap must be a map"
    said = words
    try:
        precompiled(raw)("aé①\u0301")
    except FormatError as error:
        said = str(error)
    assert said.startswith(words)


@pytest.mark.parametrize("value", [None, 3, "?", "AAA"])
def test_what_is_no_map_is_refused(value):
    with pytest.raises(FormatError, match="precompiled_charsmap must be a map of SentencePiece in base 64"):
        Precompiled({"precompiled_charsmap": value}, "t.json")
