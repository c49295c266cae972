"""Workload: 4 MB of Python sources to the ids of a 2,000-piece SentencePiece BPE model with byte fallback, one thread.
Rival: sentencepiece (ids compared). Normalising is part of both."""

import io
from itertools import pairwise

import pytest

from fasttrain.tokenizer import sentencepiece_file
from fasttrain.tokenizer.sentencepiece import SentencePieceTokenizer

OP = "sentencepiece_bpe"
ALGORITHM = "bpe"


def models(texts, algorithm):
    """(their processor, our tokenizer) of one model."""
    spm = pytest.importorskip("sentencepiece")
    out = io.BytesIO()
    lines = [line for text in texts[:40] for line in text.split("\n") if line.strip()]
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, model_type=algorithm, vocab_size=2000, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    ours = SentencePieceTokenizer(sentencepiece_file.parse(out.getvalue(), "trained"))
    return spm.SentencePieceProcessor(model_proto=out.getvalue()), ours


def compare(benchmark, documents, speed, impl, algorithm):
    texts = documents(20_000 if impl == "reference" else 4_000_000)
    theirs, ours = models(documents(1_000_000), algorithm)
    ids, offsets = benchmark(ours.encode_batch, texts, threads=1, impl=impl)
    assert [ids[a:b].tolist() for a, b in pairwise(offsets)] == theirs.encode(list(texts), num_threads=1)
    speed(texts)


def bench_sentencepiece_bpe(benchmark, documents, speed, impl):
    compare(benchmark, documents, speed, impl, ALGORITHM)


def bench_rival_sentencepiece(benchmark, documents, speed):
    texts = documents(4_000_000)
    theirs, _ = models(documents(1_000_000), ALGORITHM)
    benchmark(theirs.encode, list(texts), num_threads=1)
    speed(texts)
