"""Workload: one pass over 4 MB of Python sources with an own vocabulary of 16,384 tokens trained on others, one thread.

`cold` makes a new encoder for each pass, `warm` keeps its cache. Rivals: Hugging Face tokenizers (ids compared), and
gigatoken where it is installed (same tokenizer.json, ids compared).
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
        fresh = warm if state == "warm" else Tokenizer(warm.vocabulary)
        if impl != "reference":
            fresh._model.handle  # noqa: B018  the tables are made before the clock starts
        return (fresh,), {}

    benchmark.pedantic(lambda t: t.encode_batch(column, threads=1, impl=impl), setup=setup, rounds=5)
    speed(texts)


def bench_rival_tokenizers(benchmark, documents, train, speed, tmp_path):
    hugging_face = pytest.importorskip("tokenizers").Tokenizer
    ours = train()
    ours.save(tmp_path / "tokenizer.json")
    rival = hugging_face.from_file(str(tmp_path / "tokenizer.json"))
    texts = documents(1_000_000)
    found = benchmark.pedantic(lambda: [rival.encode(t, add_special_tokens=False).ids for t in texts], rounds=2)
    assert [i for f in found for i in f] == ours.encode_batch(texts, allow_special=True)[0].tolist()
    speed(texts)


def bench_rival_gigatoken(benchmark, documents, train, speed, tmp_path):
    gigatoken = pytest.importorskip("gigatoken")
    ours = train("llama3")  # it has no scanner for a spelling of cl100k that `tokenizers` would read rightly
    ours.save(tmp_path / "tokenizer.json")
    texts = documents(4_000_000)

    def setup():  # cold: a new encoder for each pass
        return (gigatoken.Tokenizer(str(tmp_path / "tokenizer.json")),), {}

    found = benchmark.pedantic(lambda rival: rival.encode_batch(list(texts), parallel=False), setup=setup, rounds=5)
    flat = np.concatenate([np.asarray(f, np.uint32) for f in found])
    np.testing.assert_array_equal(flat, ours.encode_batch(texts, allow_special=True)[0])
    speed(texts)
