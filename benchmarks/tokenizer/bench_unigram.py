"""Workload: 4 MB of Python sources to the ids of a 2,000-piece SentencePiece Unigram model, one thread.
Rival: sentencepiece (ids compared). Normalising is part of both."""

from tokenizer.bench_sentencepiece_bpe import compare, models

OP = "unigram"
ALGORITHM = "unigram"


def bench_unigram(benchmark, documents, speed, impl):
    compare(benchmark, documents, speed, impl, ALGORITHM)


def bench_rival_sentencepiece(benchmark, documents, speed):
    texts = documents(4_000_000)
    theirs, _ = models(documents(1_000_000), ALGORITHM)
    benchmark(theirs.encode, list(texts), num_threads=1)
    speed(texts)
