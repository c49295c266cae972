"""Rows of a replica: the same global batch for every number of replicas, and damage seen before it is computed with."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from batch.made_shards import shard
from fasttrain.batch.order import BatchConfig, Order
from fasttrain.train.feed import training_rows

CPU = torch.device("cpu")
SHARDS = {"web": shard([7, 30, 1, 12, 5, 5, 90, 3], "web", 10_000), "law": shard([64], "law", 30_000)}


def order(**changes):
    data = {"seq_len": 16, "global_batch": 7, "warmup": [{"steps": 2, "global_batch": 5, "seq_len": 8}]} | changes
    return Order(SHARDS, {"web": 0.7, "law": 0.3}, BatchConfig.load(data))


@pytest.mark.parametrize("ranks", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [0, 2])
def test_replicas_share_a_growing_batch(ranks, size):
    o = order(document_mask=True)
    for index in range(4):
        (whole,) = training_rows(
            o, index, SimpleNamespace(rank=0, size=1), size=0, vocab_size=1 << 16, device=CPU
        ).micros
        parts = []
        for rank in range(ranks):
            group = SimpleNamespace(rank=rank, size=ranks)
            parts += training_rows(o, index, group, size=size, vocab_size=1 << 16, device=CPU).micros
        T = 8 if index < 2 else 16
        assert whole.tokens.shape == ((10, 8) if index < 2 else (7, 16))
        for name in ("tokens", "targets", "segments", "sources"):
            assert torch.equal(torch.cat([getattr(m, name) for m in parts]), getattr(whole, name))
        assert torch.equal(torch.cat([m.is_target() for m in parts]), whole.targets >= 0)
        assert [row for m in parts for row in m.rows] == list(whole.rows) == list(range(len(whole.tokens)))
        assert all(len(m.tokens) <= (size * 16 // T or 10) for m in parts), "as many tokens go through at once"


def test_a_token_outside_the_vocabulary_is_named():
    tokens = SHARDS["law"].tokens.copy()
    tokens[20] = 4_000_000
    bad = {**SHARDS, "law": replace(SHARDS["law"], tokens=tokens)}
    o = Order(bad, {"web": 0.5, "law": 0.5}, BatchConfig(seq_len=16, global_batch=4))
    alone = SimpleNamespace(rank=0, size=1)
    found = [training_rows(o, i, alone, size=0, vocab_size=1 << 16, device=CPU) for i in range(30)]
    damaged = {i for i, rows in enumerate(found) if rows.damage}
    held = {i for i in range(30) if (o.batch(i).tokens == 4_000_000).any() or (o.batch(i).targets == 4_000_000).any()}
    assert damaged == held
    assert 0 < len(damaged) < 30
    assert found[min(damaged)].damage == "token 4000000 of law is not below the vocabulary of 65536"
    assert all(not found[i].micros for i in damaged)
