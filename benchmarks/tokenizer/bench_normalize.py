"""Workload: 4 MB of text in five scripts put in a normal form, one thread: text that is not in it, and text that is.

Rivals: the normalizers of Hugging Face tokenizers, and Python's unicodedata (of strings that are decoded already). A
run of 200,000 marks shows that time stays linear.
"""

import unicodedata

import numpy as np
import pytest

from fasttrain.text.columns import from_texts
from fasttrain.tokenizer.normalize import normalize

OP = "normalize"
LINES = [
    "L'été dernier, à Noël, où êtes-vous allés? Une œuvre très émouvante. ",
    "Tiếng Việt được viết bằng chữ Quốc ngữ từ đầu thế kỷ hai mươi. ",
    "안녕하세요 세계 여러분 모두 반갑습니다. ",
    "नमस्ते दुनिया, हिन्दी में लिखा गया है। ",
    "The quick brown fox jumps over the lazy dog, and then it sleeps. ",
]
CASES = [("NFC", "NFD"), ("NFD", "NFC"), ("NFKC", "NFD"), ("NFC", "NFC")]
"""(form, the form that the text is in)."""


def texts_in(form, total=4_000_000):
    documents = [unicodedata.normalize(form, line * 40) for line in LINES]
    size = sum(len(d.encode()) for d in documents)
    return documents * (total // size)


def unicodedatas(form, texts):
    return [unicodedata.normalize(form, text) for text in texts]


@pytest.mark.parametrize(("form", "given"), CASES)
def bench_normalize(benchmark, speed, impl, form, given):
    texts = texts_in(given, 100_000 if impl == "reference" else 4_000_000)
    column = from_texts(texts)
    made = benchmark(normalize, column, step=form, threads=1, impl=impl)
    assert [made[n].decode() for n in range(len(made))] == unicodedatas(form, texts)
    speed(texts)


@pytest.mark.parametrize(("form", "given"), CASES)
def bench_rival_unicodedata(benchmark, speed, form, given):
    texts = texts_in(given)
    benchmark(unicodedatas, form, texts)
    speed(texts)


@pytest.mark.rival("tokenizers")
@pytest.mark.parametrize(("form", "given"), CASES)
def bench_gate_tokenizers(gate, form, given):
    theirs = getattr(pytest.importorskip("tokenizers").normalizers, form)()
    texts = texts_in(given)
    column = from_texts(texts)
    made = normalize(column, step=form, threads=1)
    assert [made[n].decode() for n in range(len(made))] == [theirs.normalize_str(t) for t in texts]
    gate(
        lambda: [theirs.normalize_str(text) for text in texts],
        lambda: normalize(column, step=form, threads=1),
        at_least=3.0,
        runs=5,
    )


@pytest.mark.rival("itself, an eighth of the marks")
def bench_gate_long_runs_of_marks(gate):
    """Eight times the marks take eight times as long: four and not one, to leave room for noise and for caches."""
    rng = np.random.default_rng(0)
    run = "".join(rng.choice(list("\u0301\u0316\u0327\u0334\u0315"), 200_000))
    short, long = from_texts(["a" + run[:25_000]]), from_texts(["a" + run])
    gate(
        lambda: normalize(short, step="NFC", threads=1),
        lambda: normalize(long, step="NFC", threads=1),
        at_least=0.25,
        work=8.0,
    )
