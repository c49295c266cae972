"""Workload: 1 MB of Python sources with BPE-dropout 0.1 and an own vocabulary of 16,384 tokens, one thread.

Rival: Hugging Face tokenizers with model.dropout = 0.1. It draws again whenever a candidate comes up that merges have
overtaken, so it drops fewer than the definition says, and its ids lie between the ordinary ones and ours.
"""

import pytest

from fasttrain.text import columns
from fasttrain.tokenizer import train_bpe

OP = "bpe_dropout"


@pytest.fixture
def trained(documents):
    return train_bpe(documents(8_000_000, skip=1), vocab_size=16384, threads=1)


def bench_bpe_dropout(benchmark, documents, trained, speed, impl):
    texts = documents(100_000 if impl == "reference" else 1_000_000)
    column = columns.from_texts(texts)
    benchmark.pedantic(
        lambda: trained.encode_batch(column, dropout=0.1, seed=7, threads=1, impl=impl), rounds=3, warmup_rounds=1
    )
    speed(texts)


@pytest.mark.rival("tokenizers")
def bench_gate_bpe_dropout(gate, documents, trained, speed, tmp_path):
    hugging_face = pytest.importorskip("tokenizers").Tokenizer
    trained.save(tmp_path / "tokenizer.json")
    rival = hugging_face.from_file(str(tmp_path / "tokenizer.json"))
    rival.model.dropout = 0.1
    texts = documents(1_000_000)
    column = columns.from_texts(texts)

    def theirs():
        return sum(len(rival.encode(t, add_special_tokens=False).ids) for t in texts)

    ours = len(trained.encode_batch(column, dropout=0.1, seed=7)[0])
    assert len(trained.encode_batch(column)[0]) < theirs() < ours
    gate(theirs, lambda: trained.encode_batch(column, dropout=0.1, seed=7, threads=1), 4.0, runs=3)
    speed(texts)
