import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as HuggingFace

from fasttrain.core import backend
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import patterns
from fasttrain.tokenizer.bpe_encode import BpeModel, bpe_encode
from fasttrain.tokenizer.train_bpe import train_bpe
from tokenizer.by_hand import make
from tokenizer.scripts import SAMPLES, TEXT

OP = "bpe_encode"
TOKENIZER = train_bpe([s * 3 for s in SAMPLES] + ["aaaa aaab abab bcbc abcabc " * 5], vocab_size=420)
MODEL = TOKENIZER._model


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    TOKENIZER.save(path)
    return HuggingFace.from_file(str(path))


def tiny(merges, ignore_merges=False, tokens=()):
    """Bytes are their own ids; merge k gives 256 + k."""
    return BpeModel(
        tokens=tokens,
        pairs=np.array(merges, np.uint32).reshape(-1, 2),
        ranks=np.arange(len(merges), dtype=np.uint32),
        id_of_rank=np.arange(256, 256 + len(merges), dtype=np.uint32),
        byte_ids=np.arange(256, dtype=np.uint32),
        pattern="gpt2",
        ignore_merges=ignore_merges,
    )


def ids(model, text, **kw):
    return bpe_encode(model, columns.from_texts([text]), **kw)[0].tolist()


def test_by_hand(impl):
    a, b, c = b"abc"
    model = tiny([(b, c), (a, b), (a, 256), (a, a)])  # bc, ab, a+bc, aa
    assert ids(model, "abc", impl=impl) == [258]  # bc has the lower rank, then a+bc
    assert ids(model, "abab", impl=impl) == [257, 257]
    assert ids(model, "aaaaa", impl=impl) == [259, 259, a]  # of equals the leftmost
    assert ids(model, "a" * 99, impl=impl) == [259] * 49 + [a]  # the merge of long pieces
    assert ids(model, "", impl=impl) == []
    assert ids(model, "b c", eot=7, impl=impl) == [b, 32, c, 7]


def test_a_piece_that_is_a_token_is_emitted_whole_when_merges_are_ignored(impl):
    tokens = [bytes([i]) for i in range(256)] + [b"bc", b"abz"]
    assert ids(tiny([(98, 99)], True, tokens), "abz bc", impl=impl) == [257, 32, 256]
    assert ids(tiny([(98, 99)], False, tokens), "abz", impl=impl) == [97, 98, 122]


@given(st.lists(TEXT, max_size=5), st.booleans())
def test_every_implementation_equals_the_reference(texts, has_eot):
    column = columns.from_texts(texts)
    wanted = bpe_encode(MODEL, column, eot=0 if has_eot else None, impl="reference")
    for impl in backend.implementations(OP)[:-1]:
        got = bpe_encode(MODEL, column, eot=0 if has_eot else None, impl=impl)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


@given(TEXT)
def test_any_text_equals_tokenizers(hugging_face, text):
    text = text.replace("<|", "")  # tokenizers would read a special token
    assert ids(MODEL, text) == hugging_face.encode(text).ids


@given(st.text(st.sampled_from("ab\u00e9漢"), min_size=40, max_size=300))
def test_long_pieces_equal_tokenizers(hugging_face, text):
    assert ids(MODEL, text) == hugging_face.encode(text).ids


def test_half_a_megabyte_without_a_cut_takes_no_quadratic_time(hugging_face):
    text = "a" * 500_000
    column = columns.from_texts([text])
    got, _ = bpe_encode(MODEL, column, threads=1)  # quadratic would be minutes, and the timeout of the suite
    assert got.tolist() == hugging_face.encode(text).ids


def test_long_pieces_met_again_keep_their_ids():
    """Pieces on both sides of every limit of the caches, each met twice and in the company of many others."""
    pieces = [c * n for c in ("a", "é", "漢", " ") for n in range(1, 70)] + [
        f"x{'é' * 9}{i:c}" for i in range(200, 9000)
    ]
    column = columns.from_texts([*pieces, *pieces])
    ids_, offsets = bpe_encode(MODEL, column, threads=1)
    half = offsets[len(pieces)]
    np.testing.assert_array_equal(ids_[:half], ids_[half:])
    some = [*range(276), *range(276, len(pieces), 97)]
    wanted, at = bpe_encode(MODEL, columns.from_texts([pieces[i] for i in some]), impl="reference")
    for k, i in enumerate(some):
        assert ids_[offsets[i] : offsets[i + 1]].tolist() == wanted[at[k] : at[k + 1]].tolist()


def test_a_full_cache_changes_no_id():
    """More distinct pieces than the cache's first size, twice, so that it grows and then answers."""
    texts = [f" w{i:x}" for i in range(30_000)]
    column = columns.from_texts(texts)
    first = bpe_encode(MODEL, column, threads=1)
    again = bpe_encode(MODEL, column, threads=1)
    np.testing.assert_array_equal(first[0], again[0])
    some = columns.from_texts(texts[::1500])
    wanted, _ = bpe_encode(MODEL, some, impl="reference")
    np.testing.assert_array_equal(
        np.concatenate([first[0][first[1][i] : first[1][i + 1]] for i in range(0, len(texts), 1500)]), wanted
    )


def other(model, **changes):
    """The same vocabulary with other settings."""
    names = ("tokens", "pairs", "ranks", "id_of_rank", "byte_ids", "pattern", "ignore_merges", "cache_bytes")
    return BpeModel(**{name: getattr(model, name) for name in names} | changes)


@pytest.mark.parametrize("cache_bytes", [0, 1, 256, 4096, 1 << 16])
def test_the_size_of_the_cache_changes_no_id(impl, cache_bytes):
    pieces = [f" w{i:x}" for i in range(800)] + [
        c * n for c in ("a", "é", "漢", " ") for n in (5, 15, 16, 40, 255, 256)
    ]
    column = columns.from_texts(pieces * 2 + ["".join(pieces)] * 2)
    wanted = bpe_encode(MODEL, column, threads=1, impl="scalar")
    small = other(MODEL, cache_bytes=cache_bytes)
    for _ in range(2):
        got = bpe_encode(small, column, threads=1, impl=impl)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


def digit_model(pattern, groups=1000):
    """A token for each of the first numbers of three digits, and of two."""
    tokens = [f"{n:02}" for n in range(100)] + [f"{n:03}" for n in range(groups)]
    merges = [(t[:-1].encode(), t[-1:].encode()) for t in tokens]
    return make(merges, pattern=pattern)._model


DIGIT_MODELS = [digit_model(p) for p in patterns.NUMBER] + [digit_model(p, 999) for p in ("cl100k", "o200k")]
DIGIT_RUNS = st.lists(
    st.tuples(
        st.text(st.sampled_from("0123456789"), min_size=1, max_size=7),
        st.integers(0, 40),
        st.sampled_from(["", " ", "a", "\n", ".", "\u0663", "９", "²", "/", ":", "漢"]),
    ),
    max_size=4,
)


@given(DIGIT_RUNS, st.sampled_from(DIGIT_MODELS))
def test_long_runs_of_digits_equal_the_reference(runs, model):
    column = columns.from_texts(["".join(t * n + tail for t, n, tail in runs), "".join(t * n for t, n, _ in runs)])
    wanted = bpe_encode(model, column, impl="reference")
    for impl in backend.implementations(OP)[:-1]:
        got = bpe_encode(model, column, impl=impl)
        np.testing.assert_array_equal(got[0], wanted[0])
        np.testing.assert_array_equal(got[1], wanted[1])


NEW_WORDS = st.lists(
    st.tuples(st.text(st.sampled_from("abc é1漢"), min_size=1, max_size=16), st.integers(1, 3)), min_size=1, max_size=90
).map(lambda words: "".join(word * n + " " for word, n in words)[:-1])


@given(NEW_WORDS, NEW_WORDS, st.booleans(), st.sampled_from([0, 256, 1 << 20]))
def test_words_met_for_the_first_time_equal_the_reference(first, second, ignore_merges, cache_bytes):
    """They wait for each other and are merged together: words that wait twice, many, few, at the end of the bytes."""
    tokens = [*MODEL.tokens, b" cab", "é漢".encode(), b"cccc"]  # no merges give these
    column = columns.from_texts([first, second, first + second])
    changes = {"tokens": tokens, "ignore_merges": ignore_merges, "cache_bytes": cache_bytes}
    wanted = bpe_encode(other(MODEL, **changes), column, impl="reference")
    for impl in backend.implementations(OP)[:-1]:
        model = other(MODEL, **changes)
        for _ in range(2):
            got = bpe_encode(model, column, impl=impl, threads=1)
            np.testing.assert_array_equal(got[0], wanted[0])
            np.testing.assert_array_equal(got[1], wanted[1])


CJK = "日本語の漢字かな混じり文。中文文本我们的中国人民日本国한국어문장"
CJK_MODEL = train_bpe([CJK * 3, "日本 日本語 中国 中文 の日 的中 한국 국어" * 9], vocab_size=420, pattern="gpt2")._model


@pytest.mark.parametrize("ignore_merges", [False, True])
@given(text=st.text(st.sampled_from(CJK + "ab é一"), min_size=1, max_size=90))
def test_cuts_between_wide_characters_change_no_id(ignore_merges, text):
    assert any(len(t) > 3 and t[0] >= 0xE3 for t in CJK_MODEL.tokens), "no token reaches over a character's end"
    model = other(CJK_MODEL, ignore_merges=ignore_merges)
    column = columns.from_texts([text])
    wanted = bpe_encode(model, column, impl="reference")[0].tolist()
    for impl in ("scalar", None):
        assert bpe_encode(model, column, impl=impl)[0].tolist() == wanted


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=40), st.booleans(), st.data())
def test_any_merges_equal_the_reference(pairs, ignore_merges, data):
    """Vocabularies that no training gives: tokens of several merges or of none, later tokens merged first."""
    tokens = [bytes([b]) for b in range(256)]
    letters, merges = list(range(97, 105)), []
    for left, right in pairs:
        left, right = letters[left % len(letters)], letters[right % len(letters)]
        merges.append((left, right))
        tokens.append(tokens[left] + tokens[right])
        letters.append(len(tokens) - 1)
    order = np.array(data.draw(st.permutations(range(len(merges)))), np.int64)
    model = BpeModel(
        tokens=tokens,
        pairs=np.array(merges, np.uint32).reshape(-1, 2)[order],
        ranks=np.arange(len(merges), dtype=np.uint32),
        id_of_rank=(256 + order).astype(np.uint32),
        byte_ids=np.arange(256, dtype=np.uint32),
        pattern="gpt2",
        ignore_merges=ignore_merges,
    )
    text = data.draw(st.text(st.sampled_from("abcdefgh"), max_size=200))
    column = columns.from_texts([text, text[:14], text[:30], text[:62], text + "x"])
    if data.draw(st.booleans()):  # as in a text of many long pieces: they are no longer merged by a heap
        bpe_encode(model, columns.from_texts(["a" * 70_000]), threads=1)
    wanted = bpe_encode(model, column, impl="reference")[0]
    for impl in ("scalar", "avx2", None):
        if impl is None or impl in backend.implementations(OP):
            np.testing.assert_array_equal(bpe_encode(model, column, impl=impl)[0], wanted)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_threads_and_slices_do_not_matter(threads):
    column = columns.from_texts(SAMPLES * 30)
    whole, offsets = bpe_encode(MODEL, column, threads=1)
    part, part_offsets = bpe_encode(MODEL, TextColumn(column.data, column.offsets[5:]), threads=threads)
    np.testing.assert_array_equal(part, whole[offsets[5] :])
    np.testing.assert_array_equal(part_offsets, offsets[5:] - offsets[5])


def test_refuses():
    column = columns.from_texts(["a"])
    with pytest.raises(ValueError, match="eot must be an id up to 2097150, got -1"):
        bpe_encode(MODEL, column, eot=-1)
    with pytest.raises(TypeError, match="data must have dtype uint8, got int8"):
        bpe_encode(MODEL, TextColumn(np.zeros(3, np.int8), np.array([0, 3])))
    with pytest.raises(ValueError, match="impl 'avx9' cannot run here"):
        bpe_encode(MODEL, column, impl="avx9")
    with pytest.raises(ValueError, match="pairs must hold ids up to 2097150, got 2097151"):
        tiny([(1, (1 << 21) - 1)])
