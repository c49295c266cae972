"""Workload: 4 MB of Python sources normalised by nmt_nfkc's map, one thread. Rival: sentencepiece (texts compared)."""

import io

import pytest

from fasttrain.text.columns import from_texts
from fasttrain.tokenizer import sentencepiece_file
from fasttrain.tokenizer.sentencepiece_normalize import Normalizer, sentencepiece_normalize

OP = "sentencepiece_normalize"


def model(documents):
    """A trained model's file: nmt_nfkc is the trainer's default."""
    spm = pytest.importorskip("sentencepiece")
    out = io.BytesIO()
    lines = [line for line in documents(200_000)[0].split("\n") if line.strip()]
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, vocab_size=300, minloglevel=2, hard_vocab_limit=False
    )
    return out.getvalue()


def bench_sentencepiece_normalize(benchmark, documents, speed, impl):
    spm = pytest.importorskip("sentencepiece")
    data, texts = model(documents), documents(20_000 if impl == "reference" else 4_000_000)
    normalizer = Normalizer(sentencepiece_file.parse(data, "trained"))
    found = benchmark(sentencepiece_normalize, normalizer, from_texts(texts), threads=1, impl=impl)
    theirs = spm.SentencePieceProcessor(model_proto=data)
    assert [found[n].decode() for n in range(len(found))] == [theirs.normalize(t) for t in texts]
    speed(texts)


def bench_rival_sentencepiece(benchmark, documents, speed):
    spm = pytest.importorskip("sentencepiece")
    texts = documents(4_000_000)
    theirs = spm.SentencePieceProcessor(model_proto=model(documents))
    benchmark(lambda: [theirs.normalize(t) for t in texts])
    speed(texts)
