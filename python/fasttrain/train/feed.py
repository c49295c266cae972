"""Batches of the order as micro-batches of a replica, and the probe set as micro-batches of an evaluation."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch

from fasttrain.batch.order import Order
from fasttrain.batch.probe import probe_batches
from fasttrain.batch.window import Batch
from fasttrain.comm.group import Group
from fasttrain.formats.shards import Shard
from fasttrain.parallel.plan import share
from fasttrain.parallel.stage import MicroBatch


def micro_batches(
    batch: Batch, first_row: int, *, size: int, document_mask: bool, device: torch.device
) -> list[MicroBatch]:
    """Cut a replica's rows of a global batch, of which `first_row` is the first, into pieces of `size` (0: one)."""
    num_rows, T = batch.tokens.shape
    size = size or max(num_rows, 1)
    pieces = []
    for start in range(0, num_rows, size):
        rows = slice(start, min(start + size, num_rows))
        pieces.append(
            MicroBatch(
                tokens=torch.from_numpy(batch.tokens[rows]).to(device),
                targets=torch.from_numpy(batch.targets[rows]).to(device),
                segments=torch.from_numpy(batch.segments[rows]).to(device) if document_mask else None,
                sources=torch.from_numpy(np.repeat(batch.sources[rows, None].astype(np.int64), T, axis=1)),
                rows=tuple(range(first_row + rows.start, first_row + rows.stop)),
            )
        )
    return pieces


def training_rows(order: Order, index: int, replicas: Group, *, size: int, device: torch.device) -> list[MicroBatch]:
    """This replica's part of global batch `index`."""
    rows = share(order.config.global_batch, replicas.rank, replicas.size)
    batch = order.batch(index, slice(rows.start, rows.stop))
    mask = order.config.document_mask
    return micro_batches(batch, rows.start, size=size, document_mask=mask, device=device)


def probe_rows(
    shards: Mapping[str, Shard], replicas: Group, *, seq_len: int, size: int, document_mask: bool, device: torch.device
) -> list[MicroBatch]:
    """This replica's part of the probe set; sources are numbered in name order."""
    batches = probe_batches(shards, seq_len, size, rank=replicas.rank, size=replicas.size)
    return [m for b in batches for m in micro_batches(b, 0, size=0, document_mask=document_mask, device=device)]


def cut_probe(shard: Shard, max_tokens: int) -> Shard:
    """The first documents of a shard, as many as `max_tokens` hold but at least one."""
    num_docs = max(int(np.searchsorted(shard.offsets, max_tokens, "right")) - 1, min(1, shard.num_docs))
    end = int(shard.offsets[num_docs])
    offsets, doc_ids = shard.offsets[: num_docs + 1], shard.doc_ids[:num_docs]
    return replace(shard, tokens=shard.tokens[:end], offsets=offsets, doc_ids=doc_ids)
