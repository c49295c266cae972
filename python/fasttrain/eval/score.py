"""How well a model predicts texts it has not seen: perplexity per token and bits per byte, by source.

Each document is scored alone and each of its tokens once, the end-of-text token included: what is predicted is the
document and where it ends. Its first token is predicted from one end-of-text token, as in training;
where training keeps documents apart (`document_mask`), the others do not see that token.

nll = sum of -ln p(token | tokens before it, in its window)      perplexity = exp(nll / tokens)
bpb = nll / ln 2 / bytes, bytes being the UTF-8 bytes of the same texts: comparable between tokenizers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from fasttrain.comm.group import Group, SoloGroup
from fasttrain.core.log import progress
from fasttrain.formats.shards import Shard
from fasttrain.model.transformer import Transformer

IGNORED = -100
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class Score:
    """What predicting some documents cost."""

    documents: int
    tokens: int  # predicted tokens, one end token a document
    num_bytes: int  # UTF-8 bytes of the documents' text
    nll: float | None  # nats in all; None where there are no tokens' probabilities (zstd)
    bits: float  # bits in all

    @property
    def bpb(self) -> float:
        """Bits per byte of text; infinite when there is no text."""
        return self.bits / self.num_bytes if self.num_bytes else math.inf

    @property
    def perplexity(self) -> float | None:
        """Per token; None where there are no tokens' probabilities."""
        if self.nll is None or not self.tokens:
            return None
        mean = self.nll / self.tokens
        return math.exp(mean) if mean < 700 else math.inf

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain data, with the two figures worked out."""
        return {"documents": self.documents, "tokens": self.tokens, "bytes": self.num_bytes, "nll": self.nll,
                "bpb": self.bpb, "perplexity": self.perplexity}  # fmt: skip


def of_nll(shard: Shard, nll: float) -> Score:
    """The score of a whole shard that cost `nll` nats."""
    return Score(
        documents=shard.num_docs,
        tokens=shard.num_tokens,
        num_bytes=shard.num_bytes,
        nll=nll,
        bits=nll / math.log(2),
    )


def total(scores: Mapping[str, Score]) -> Score:
    """All sources as one text."""
    parts = [s for name, s in scores.items() if name != ALL]
    nlls = [s.nll for s in parts if s.nll is not None]
    return Score(
        documents=sum(s.documents for s in parts),
        tokens=sum(s.tokens for s in parts),
        num_bytes=sum(s.num_bytes for s in parts),
        nll=math.fsum(nlls) if len(nlls) == len(parts) else None,
        bits=math.fsum(s.bits for s in parts),
    )


@dataclass(frozen=True)
class Windows:
    """Stretches of documents that fit the model's context, W of them; each token is scored in exactly one."""

    document: npt.NDArray[np.int64]  # (W,)
    start: npt.NDArray[np.int64]  # (W,) first token of the document that is predicted, or read as context
    end: npt.NDArray[np.int64]  # (W,)
    scored: npt.NDArray[np.int64]  # (W,) first token that is scored: later than start when windows overlap


def windows(lengths: npt.NDArray[np.int64], context_tokens: int, overlap_tokens: int) -> Windows:
    """Cut documents of `lengths` tokens into windows of at most `context_tokens`, each re-reading `overlap_tokens`.

    Raises: ValueError: an overlap that leaves no new token in a window.
    """
    if not 0 <= overlap_tokens < context_tokens:
        raise ValueError(
            f"score: overlap_tokens must be less than the context of {context_tokens} tokens, got {overlap_tokens}"
        )
    stride = context_tokens - overlap_tokens
    count = np.where(lengths > 0, 1 + np.maximum(0, -(-(lengths - context_tokens) // stride)), 0)
    document = np.repeat(np.arange(len(lengths)), count)
    number = np.arange(len(document)) - np.repeat(np.cumsum(count) - count, count)
    start = number * stride
    end = np.minimum(start + context_tokens, lengths[document])
    scored = np.where(number == 0, 0, start + overlap_tokens)
    return Windows(document, start, end, scored)


@torch.no_grad()
def score_shard(
    model: Transformer,
    shard: Shard,
    *,
    eot_id: int,
    context_tokens: int,
    overlap_tokens: int = 0,
    batch_tokens: int = 2048,
    document_mask: bool = False,
    world: Group | None = None,
    label: str = "",
) -> Score:
    """Score every document of a shard; the ranks of `world` share the windows and all return the same bits.

    Args:
        model: on its device, in its dtype; every rank holds all of it.
        eot_id: the end-of-text token, read before each document.
        context_tokens: longest input of one forward pass.
        overlap_tokens: context that a long document's later windows read again, unscored.
        batch_tokens: of one forward pass; bounds the logits to batch_tokens * V values.
        document_mask: whether the model was trained with attention that stops at document boundaries.
    Cost: shard.num_tokens * context / (context - overlap) tokens of forward passes, shared by the ranks.
    """
    group = world or SoloGroup()
    lengths = np.diff(shard.offsets)
    cut = windows(lengths, context_tokens, overlap_tokens)
    batches = _batches(cut.end - cut.start, batch_tokens)
    nll = np.zeros(len(cut.document), np.float64)
    mine = range(group.rank, len(batches), group.size)
    device = next(model.parameters()).device
    with progress(label or f"eval/{shard.source}", len(mine), "batches", enabled=group.is_root) as bar:
        for index in mine:
            rows = batches[index]
            tokens, targets = (x.to(device) for x in _fill(shard, cut, rows, eot_id))
            segments = _segments(cut, rows, tokens) if document_mask else None
            loss, _ = model(tokens, targets, segments)
            nll[rows] = loss.double().sum(1).cpu().numpy()
            bar.advance(1)
    group.allreduce_(nll)  # each window was scored by one rank: adding zeros is exact, whatever their number
    return of_nll(shard, math.fsum(nll))


def _batches(lengths: npt.NDArray[np.int64], batch_tokens: int) -> list[npt.NDArray[np.int64]]:
    """Windows of like length together, so that little is padded; each batch is at most batch_tokens, or one window."""
    order = np.argsort(-lengths, kind="stable")
    out, at = [], 0
    while at < len(order):
        rows = max(1, batch_tokens // int(lengths[order[at]]))
        out.append(order[at : at + rows])
        at += rows
    return out


def _fill(shard: Shard, cut: Windows, rows: npt.NDArray[np.int64], eot_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    width = int((cut.end[rows] - cut.start[rows]).max())
    tokens = np.full((len(rows), width), eot_id, np.int64)
    targets = np.full(
        (len(rows), width), IGNORED, np.int64
    )  # padding lies to the right: causal attention never sees it
    for row, window in enumerate(rows):
        start, end, first = int(cut.start[window]), int(cut.end[window]), int(cut.scored[window])
        base = int(shard.offsets[cut.document[window]])
        text = shard.tokens[base + start : base + end]
        targets[row, first - start : end - start] = text[first - start :]
        tokens[row, 1 : end - start] = text[:-1]
        if start > 0:
            tokens[row, 0] = shard.tokens[base + start - 1]
    return torch.from_numpy(tokens), torch.from_numpy(targets)


def _segments(cut: Windows, rows: npt.NDArray[np.int64], tokens: torch.Tensor) -> torch.Tensor:
    """A document's first window: the end-of-text token by itself, then the document."""
    segments = torch.ones_like(tokens, dtype=torch.int32)
    segments[:, 0] = torch.from_numpy(cut.start[rows] > 0).to(tokens.device)
    return segments
