"""Workload: 8,192 tokens learnt from 8 MB of Python sources, one thread. Rivals: Hugging Face tokenizers' BpeTrainer
(on all its threads; the same vocabulary is the answer) and rustbpe."""

import json

import pytest

from fasttrain.text import columns
from fasttrain.tokenizer import patterns, tokenizer_json, train_bpe

OP = "bpe_train"
VOCAB = 8192


def bench_bpe_train(benchmark, documents, speed, impl):
    if impl == "reference":
        texts, size = documents(20_000), 400
    else:
        texts, size = documents(8_000_000), VOCAB
    column = columns.from_texts(texts)
    benchmark.pedantic(lambda: train_bpe(column, vocab_size=size, threads=1, impl=impl), rounds=2)
    speed(texts)


def bench_gate_bpe_train(gate, documents, speed):
    hf = pytest.importorskip("tokenizers")
    texts = documents(8_000_000)
    column = columns.from_texts(texts)

    def theirs():
        tokenizer = hf.Tokenizer(hf.models.BPE())
        split = hf.pre_tokenizers.Split(hf.Regex(patterns.HUGGING_FACE["cl100k"]), "isolated")
        step = hf.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        tokenizer.pre_tokenizer = hf.pre_tokenizers.Sequence([split, step])
        trainer = hf.trainers.BpeTrainer(
            vocab_size=VOCAB,
            special_tokens=["<|endoftext|>"],
            initial_alphabet=hf.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        tokenizer.train_from_iterator(texts, trainer)
        return tokenizer

    def mine():
        return train_bpe(column, vocab_size=VOCAB, threads=1)

    found = json.loads(theirs().to_str())["model"]
    ours = tokenizer_json.to_json(mine().vocabulary)["model"]
    assert ours["vocab"] == found["vocab"]
    assert [list(m) for m in ours["merges"]] == [list(m) for m in found["merges"]]
    gate(theirs, mine, 3.0, runs=3)
    speed(texts)


def bench_rival_rustbpe(benchmark, documents, speed):
    """On all its threads. Its vocabulary differs where counts are equal: it breaks ties by the order of raw bytes."""
    rustbpe = pytest.importorskip("rustbpe")
    texts = documents(8_000_000)

    def train():
        tokenizer = rustbpe.Tokenizer()
        tokenizer.train_from_iterator(iter(texts), VOCAB - 1, pattern=patterns.TIKTOKEN["cl100k"])
        return tokenizer

    found = {bytes(token) for token, _ in benchmark.pedantic(train, rounds=2).get_mergeable_ranks()}
    ours = set(train_bpe(texts, vocab_size=VOCAB, threads=1).vocabulary.tokens)
    assert len(found & ours) > 0.99 * len(found)
    speed(texts)
