"""Steps of normalisers against Hugging Face tokenizers 0.23, unicodedata and the definition."""

import functools
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import normalizers as theirs

from fasttrain.core import backend
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import normalize_tables
from fasttrain.tokenizer.normalize import STEPS, normalize, normalize_aligned
from fasttrain.tokenizer.normalize_ref import characters

OP = "normalize"
FORMS = ["NFC", "NFD", "NFKC", "NFKD"]
SCALARS = "".join(chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000)
FEW = "".join(c for c in SCALARS if c < "\u3400" or "\ua000" <= c < "\uad00" or "\uf900" <= c < "\U00020000")
"""Without most of the blocks whose characters are all alike."""
MOVING = [c for c in SCALARS if unicodedata.combining(c) or unicodedata.decomposition(c)]
COMPANY = st.text(
    st.one_of(
        st.sampled_from("aeAΣσ éÉ\u1100\u1161\u11a8\uac00\uac01\u0334\u093c\u3099\u094d\u0321\u0301\u0315\u035c\u0345"),
        st.sampled_from(MOVING),
        st.characters(exclude_categories=["Cs"]),
    ),
    max_size=14,
)


def bert(**on):
    """Their BertNormalizer with one part of it."""
    parts = ("clean_text", "handle_chinese_chars", "strip_accents", "lowercase")
    return theirs.BertNormalizer(**{part: part in on for part in parts})


THEIRS = {
    **{form: getattr(theirs, form)() for form in FORMS},
    "Lowercase": theirs.Lowercase(),
    "StripAccents": theirs.StripAccents(),
    "Nmt": theirs.Nmt(),
    "clean_text": bert(clean_text=True),
    "handle_chinese_chars": bert(handle_chinese_chars=True),
    "strip_accents": bert(strip_accents=True),  # which decomposes first
}


def wanted(step, text):
    """What tokenizers makes of a text; for strip_accents the text must be decomposed."""
    return THEIRS[step].normalize_str(text)


def check(step, impl, texts, **how):
    made = normalize(columns.from_texts(texts), step=step, impl=impl, **how)
    for n, text in enumerate(texts):
        assert made[n].decode() == wanted(step, text), ascii(text)[:200]


@functools.cache
def decomposed():
    return frozenset(c for c in SCALARS if THEIRS["NFD"].normalize_str(c) == c)


@pytest.mark.parametrize("step", STEPS)
def test_every_scalar(step, impl):
    chars = FEW if impl == "reference" else SCALARS
    if step == "strip_accents":
        chars = "".join(c for c in chars if c in decomposed())
    texts = [chars[k : k + 2048] for k in range(0, len(chars), 2048)]
    if step in FORMS or step == "strip_accents":  # apart, so that none meets its neighbour
        texts = ["x".join(text) for text in texts]
    check(step, impl, texts, threads=2)


@pytest.mark.parametrize("form", FORMS)
def test_every_pair_that_composes_alone_and_blocked(form, impl):
    pairs = [d.split() for c in SCALARS if (d := unicodedata.decomposition(c)) and "<" not in d]
    texts = ["".join(chr(int(p, 16)) for p in pair) for pair in pairs]
    check(form, impl, [*texts, *(f"{t[0]}\u0334{t[1:]}" for t in texts), *(f"{t[0]}a{t[1:]}\u0301" for t in texts)])


@pytest.mark.parametrize("form", FORMS)
def test_hangul(form, impl):
    step = 97 if impl == "reference" else 1
    syllables = [chr(c) for c in range(0xAC00, 0xD7A4, step)]
    jamo = [unicodedata.normalize("NFD", s) for s in syllables]
    check(form, impl, [*syllables, *jamo])
    check(form, impl, [s + "\u11a8" for s in syllables[::17]] + [s + "\u0301\u11a8" for s in syllables[::17]])
    check(
        form,
        impl,
        ["\u1100", "\u1161", "\u11a8", "\u1100\u1161\u11a7", "\u1112\u1175\u11c2", "\u1113\u1161", "\u1100\u1176"],
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_character_that_moves_beside_marks(form, impl):
    chars = sorted({*MOVING, *characters(normalize_tables.NEWER)})[:: 9 if impl == "reference" else 1]
    marks = "\u0334\u093c\u3099\u094d\u05b0\u0321\u0316\u0301\u0315\u035c\u0345"
    check(form, impl, ["\n".join(f"a{c}{m}\na{m}{c}\n{c}{m}{m}" for c in chars) for m in marks])


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=100)
@given(texts=st.lists(COMPANY, max_size=4))
def test_any_text(step, texts):
    if step == "strip_accents":
        texts = [THEIRS["NFD"].normalize_str(text) for text in texts]
    for impl in backend.implementations(OP):
        check(step, impl, texts)


@pytest.mark.parametrize("step", STEPS)
@settings(max_examples=100)
@given(texts=st.lists(st.one_of(COMPANY.map(str.encode), st.binary(max_size=9)), max_size=4), cut=st.integers(0, 2))
def test_implementations_agree_on_any_bytes(step, texts, cut):
    """Also on a part of a column, and about where each byte comes from."""
    whole = columns.from_texts(texts)
    column = TextColumn(whole.data, whole.offsets[min(cut, len(texts)) :])
    base, source = normalize_aligned(column, step=step, impl="reference")
    for impl in backend.implementations(OP):
        for threads in (1, 3):
            made, from_ = normalize_aligned(column, step=step, impl=impl, threads=threads)
            assert made.data.tobytes() == base.data.tobytes()
            assert made.offsets.tolist() == base.offsets.tolist()
            assert from_.tolist() == source.tolist()
            alone = normalize(column, step=step, impl=impl, threads=threads)
            assert [alone[n] for n in range(len(alone))] == [made[n] for n in range(len(made))]


@pytest.mark.parametrize("form", FORMS)
def test_bytes_that_are_no_utf8_go_over_and_part_what_is_beside_them(form, impl):
    raw = [
        b"e\xff\xcc\x81",
        b"\xcc",
        b"\xe1\x80",
        b"a\xe2\x82e\xcc\x81\xf0\x9f",
        b"\xed\xa0\x80\xcc\xa7\xcc\xa1",
        b"\x80\x80",
    ]
    made = normalize(columns.from_texts(raw), step=form, impl=impl)
    for n, text in enumerate(raw):
        python = unicodedata.normalize(form, text.decode("utf-8", "surrogateescape"))
        assert made[n] == python.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize("form", FORMS)
def test_long_runs_of_marks(form, impl):
    size = 3_000 if impl == "reference" else 200_000
    rng = np.random.default_rng()
    marks = [c for c in MOVING if unicodedata.combining(c) and c not in characters(normalize_tables.NEWER)]
    run = "".join(rng.choice(marks, size))
    texts = ["a" + run, run, "\u0301\u0316" * (size // 2), "é" + "\u0327" * size]
    check(form, impl, texts)  # unicodedata would take quadratic time


def test_worked_by_hand(impl):
    texts = columns.from_texts(["e\u0301", "\u00e9\u0327", "q\u0307\u0323", "\u1e9b\u0323", "ﬁ"])
    nfc = normalize(texts, step="NFC", impl=impl)
    assert [nfc[n].decode() for n in range(5)] == ["é", "\u0229\u0301", "q\u0323\u0307", "\u1e9b\u0323", "ﬁ"]
    nfkd = normalize(texts, step="NFKD", impl=impl)
    assert [nfkd[n].decode() for n in range(5)][3:] == ["s\u0323\u0307", "fi"]
    made, source = normalize_aligned(columns.from_texts(["xe\u0301y", "é"]), step="NFC", impl=impl)
    assert made.data.tobytes() == "xéyé".encode()
    assert source.tolist() == [0, 1, 1, 4, 0, 0]
    made, source = normalize_aligned(columns.from_texts(["é!"]), step="NFD", impl=impl)
    assert source.tolist() == [0, 0, 0, 2]


def test_a_column_that_does_not_change_is_not_copied(impl):
    column = columns.from_texts(["plain", "", "é 漢 \u1eaf", b"\xff"])
    assert normalize(column, step="NFC", impl=impl) is column
    assert normalize(columns.from_texts([]), step="NFKD", impl=impl).num_bytes == 0
    made, source = normalize_aligned(column, step="NFC", impl=impl)
    assert made.data.tobytes() == column.data.tobytes()
    assert source[-1] == 0


def test_refuses():
    column = columns.from_texts(["a"])
    with pytest.raises(ValueError, match="normalize: step must be one of NFC, .*, got 'nfc'"):
        normalize(column, step="nfc")
    with pytest.raises(TypeError, match="normalize: data must have dtype uint8"):
        normalize(TextColumn(column.data.astype(np.int8), column.offsets), step="NFC")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="normalize: impl 'cuda' cannot run here"):
        normalize(column, step="NFC", impl="cuda")
