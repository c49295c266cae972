"""Batches of the order as micro-batches of a replica, and the probe set as micro-batches of an evaluation."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from fasttrain.batch.order import Order
from fasttrain.batch.probe import probe_batches
from fasttrain.batch.window import Batch, cut_short
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
                tokens=_moved(batch.tokens[rows], device),
                targets=_moved(batch.targets[rows], device),
                segments=_moved(batch.segments[rows], device) if document_mask else None,
                sources=torch.from_numpy(np.repeat(batch.sources[rows, None].astype(np.int64), T, axis=1)),
                rows=tuple(range(first_row + rows.start, first_row + rows.stop)),
                counted=torch.from_numpy(batch.targets[rows] >= 0),
            )
        )
    return pieces


def _moved(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """The array on the device; on a card without waiting for what that has still to do."""
    x = torch.from_numpy(array)
    return x.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else x.to(device)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """A replica's part of a global batch."""

    micros: list[MicroBatch]
    damage: str
    """Why it cannot be trained on; empty for a whole one."""


def training_rows(
    order: Order, index: int, replicas: Group, *, size: int, vocab_size: int, device: torch.device
) -> Rows:
    """This replica's part of global batch `index`.

    Args: size: sequences of batch.seq_len tokens in a micro-batch; of the shorter ones of a warm-up as many more.
    """
    config = order.config
    rows = share(config.rows(index), replicas.rank, replicas.size)
    batch = order.batch(index, slice(rows.start, rows.stop))
    damage = _damage(batch, order, vocab_size)
    pieces = config.seq_len // config.piece_len(index)
    if pieces > 1:
        batch = cut_short(batch, config.piece_len(index))
    if damage:
        return Rows(micros=[], damage=damage)
    micros = micro_batches(
        batch, rows.start * pieces, size=size * pieces, document_mask=config.document_mask, device=device
    )
    return Rows(micros=micros, damage="")


def _damage(batch: Batch, order: Order, vocab_size: int) -> str:
    """What is wrong with the tokens of a shard whose bytes have changed since they were hashed."""
    is_bad = (batch.tokens < 0) | (batch.tokens >= vocab_size) | (batch.targets >= vocab_size)
    if not is_bad.any():
        return ""
    row = int(np.flatnonzero(is_bad.any(axis=1))[0])
    worst = int(max(batch.tokens[row].max(), batch.targets[row].max()))
    return f"token {worst} of {order.source_names[batch.sources[row]]} is not below the vocabulary of {vocab_size}"


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
