"""Workload: one pass over 4 MB of Python sources with an own vocabulary of 16,384 tokens trained on others, one thread.

`cold` makes a new encoder for each pass, `warm` keeps its cache. Rivals: Hugging Face tokenizers and
gigatoken, each with the same tokenizer.json, ids compared.
"""

import numpy as np
import pytest

from fasttrain.text import columns
from fasttrain.tokenizer import Tokenizer, train_bpe

OP = "bpe_encode"


@pytest.fixture
def train(documents):
    """train(pattern="cl100k"): the vocabulary."""
    return lambda pattern="cl100k": train_bpe(
        documents(8_000_000, skip=1), vocab_size=16384, pattern=pattern, threads=1
    )


@pytest.mark.parametrize("state", ["cold", "warm"])
def bench_bpe_encode(benchmark, documents, train, speed, impl, state):
    texts = documents(100_000 if impl == "reference" else 4_000_000)
    column, warm = columns.from_texts(texts), train()

    def setup():
        return (warm if state == "warm" else Tokenizer(warm.vocabulary) if impl == "reference" else fresh(warm),), {}

    benchmark.pedantic(lambda t: t.encode_batch(column, threads=1, impl=impl), setup=setup, rounds=5)
    speed(texts)


def fresh(warm):
    """A new encoder without a cache, its tables made before the clock starts."""
    tokenizer = Tokenizer(warm.vocabulary)
    tokenizer._model.handle  # noqa: B018
    return tokenizer


@pytest.mark.rival("tokenizers")
def bench_gate_bpe_encode(gate, documents, train, speed, tmp_path):
    """Ours cold; the rival keeps its cache from turn to turn."""
    hugging_face = pytest.importorskip("tokenizers").Tokenizer
    ours = train()
    ours.save(tmp_path / "tokenizer.json")
    rival = hugging_face.from_file(str(tmp_path / "tokenizer.json"))
    texts = documents(1_000_000)
    column = columns.from_texts(texts)

    def theirs():
        return [rival.encode(t, add_special_tokens=False).ids for t in texts]

    assert [i for f in theirs() for i in f] == ours.encode_batch(texts, allow_special=True)[0].tolist()
    gate(theirs, lambda t: t.encode_batch(column, threads=1), 10.0, runs=3, setup=lambda: ((), (fresh(ours),)))
    speed(texts)


@pytest.mark.rival("gigatoken")
def bench_gate_bpe_encode_gigatoken(gate, documents, train, speed, tmp_path):
    """Both cold, with special tokens looked for."""
    gigatoken = pytest.importorskip("gigatoken")
    ours = train("llama3")  # it has no scanner for a spelling of cl100k that `tokenizers` would read rightly
    path = str(tmp_path / "tokenizer.json")
    ours.save(tmp_path / "tokenizer.json")
    texts = list(documents(4_000_000))
    column = columns.from_texts(texts)

    def theirs(rival):
        return rival.encode_batch(texts, parallel=False)

    def mine(tokenizer):
        return tokenizer.encode_batch(column, threads=1, allow_special=True)

    flat = np.concatenate([np.asarray(f, np.uint32) for f in theirs(gigatoken.Tokenizer(path))])
    np.testing.assert_array_equal(flat, mine(ours)[0])
    gate(theirs, mine, 0.65, setup=lambda: ((gigatoken.Tokenizer(path),), (fresh(ours),)))
    speed(texts)
