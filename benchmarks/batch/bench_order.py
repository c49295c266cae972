"""Workload: global batches of 64 sequences of 1,024 tokens, three sources of 24M tokens in all, concat and best-fit.

Rivals: a stored permutation of all sequences (what Megatron-LM and most loaders keep), and torch's DataLoader with its
random sampler. Both cut the stream (concat) and know neither documents nor a mixture: they do less. What a step costs
and what it costs to be at step 1,000,000 are measured apart; there a stored order must be built, a sampler must skip.
"""

import numpy as np
import pytest
import torch

from fasttrain.batch.order import BatchConfig, Order
from fasttrain.core.malloc import keep_pages
from fasttrain.formats.shards import Shard

keep_pages()  # as the trainer does; for the rivals too
T, B = 1024, 64
RNG = np.random.default_rng(20261123)


def make_shard(source, num_tokens):
    lengths = np.minimum(RNG.lognormal(6, 1, num_tokens // 400).astype(np.int64) + 1, 20_000)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    offsets = offsets[: np.searchsorted(offsets, num_tokens) + 1]
    return Shard(
        source=source,
        tokens=RNG.integers(1, 60_000, offsets[-1], np.uint16),
        offsets=offsets,
        doc_ids=RNG.integers(0, 256, (len(offsets) - 1, 16), np.uint8),
        num_bytes=4 * int(offsets[-1]),
        fingerprint=source,
    )


SHARDS = {s: make_shard(s, n) for s, n in {"web": 16_000_000, "code": 6_000_000, "law": 2_000_000}.items()}
WEIGHTS = {"web": 0.6, "code": 0.3, "law": 0.1}


class Stored:
    """One epoch of one source in a stored random order."""

    def __init__(self, tokens):
        self.tokens = tokens
        self.order = np.random.default_rng(0).permutation((len(tokens) - 1) // T)

    def batch(self, step):
        rows = self.order[np.arange(step * B, step * B + B) % len(self.order)]
        windows = np.stack([self.tokens[i * T : i * T + T + 1] for i in rows]).astype(np.int64)
        return windows[:, :-1], windows[:, 1:]


class Windows(torch.utils.data.Dataset):
    def __init__(self, tokens):
        self.tokens = tokens

    def __len__(self):
        return (len(self.tokens) - 1) // T

    def __getitem__(self, i):
        window = self.tokens[i * T : i * T + T + 1].astype(np.int64)
        return window[:-1], window[1:]


def dataloader(tokens):
    return torch.utils.data.DataLoader(Windows(tokens), batch_size=B, shuffle=True, drop_last=True)


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def bench_step(benchmark, record, packing):
    order = Order(SHARDS, WEIGHTS, BatchConfig(seq_len=T, global_batch=B, packing=packing))
    steps = iter(range(10**9))
    got = benchmark(lambda: order.batch(next(steps)))
    assert got.tokens.shape == got.targets.shape == got.segments.shape == (B, T)
    record("tokens_per_s", B * T)


def bench_step_rival_stored(benchmark, record):
    rival = Stored(SHARDS["web"].tokens)
    ours = Order(SHARDS, {"web": 1}, BatchConfig(seq_len=T, global_batch=B, packing="concat"))
    tokens, targets = rival.batch(0)
    got = ours.batch(0)  # the same windows in another order: each of ours is the rival's of the same number
    assert all(w in range(0, len(rival.tokens), T) for w in _starts(got.tokens, rival.tokens))
    assert all(w in range(0, len(rival.tokens), T) for w in _starts(tokens, rival.tokens))
    assert (tokens[:, 1:] == targets[:, :-1]).all()
    steps = iter(range(10**9))
    benchmark(lambda: rival.batch(next(steps)))
    record("tokens_per_s", B * T)


def _starts(rows, tokens):
    """Where each row's first tokens lie in the stream."""
    windows = {tokens[i : i + 8].tobytes(): i for i in range(0, len(tokens) - T, T)}
    return [windows[row[:8].astype(tokens.dtype).tobytes()] for row in rows]


def bench_step_rival_dataloader(benchmark, record):
    def forever():
        while True:
            yield from dataloader(SHARDS["web"].tokens)

    batches = forever()
    benchmark(lambda: next(batches))
    record("tokens_per_s", B * T)


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def bench_resume_at_a_million(benchmark, packing, tmp_path):
    config = BatchConfig(seq_len=T, global_batch=B, packing=packing)
    Order(SHARDS, WEIGHTS, config, cache=tmp_path)  # the index of best-fit packing, made once for a shard
    benchmark(lambda: Order(SHARDS, WEIGHTS, config, cache=tmp_path).batch(1_000_000))


def bench_resume_rival_stored(benchmark):
    """Only the permutation of this small source; at 10^9 sequences it is 8 GB."""
    benchmark(lambda: Stored(SHARDS["web"].tokens).batch(1_000_000))


def bench_resume_rival_dataloader_after_200_steps(benchmark):
    """The DataLoader has no position: it skips. 200 steps, where the others are at a million."""

    def skip():
        batches = iter(dataloader(SHARDS["web"].tokens))
        for _ in range(200):
            batch = next(batches)
        return batch

    benchmark.pedantic(skip, rounds=3)
