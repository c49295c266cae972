import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval.bytes_codec import TEXTS, model, write
from fasttrain.comm.group import SoloGroup
from fasttrain.eval import score


@given(st.lists(st.integers(0, 60), max_size=12), st.integers(1, 20), st.integers(0, 19))
def test_each_token_is_scored_once_with_its_context(lengths, context, overlap):
    overlap = min(overlap, context - 1)
    lengths = np.array(lengths, np.int64)
    cut = score.windows(lengths, context, overlap)
    scored = [(d, t) for d, s, e in zip(cut.document, cut.scored, cut.end) for t in range(s, e)]
    assert scored == [(d, t) for d, n in enumerate(lengths) for t in range(n)]
    assert ((cut.end - cut.start) <= context).all()
    assert ((cut.scored - cut.start)[cut.start > 0] == overlap).all()


def test_an_overlap_that_leaves_nothing_is_refused():
    with pytest.raises(ValueError, match="overlap_tokens must be less than the context of 8 tokens, got 8"):
        score.windows(np.array([9]), 8, 8)


def naive(net, shard, context, overlap, mask=False):
    """One window at a time, one token at a time."""
    total = 0.0
    for i in range(shard.num_docs):
        ids = [256, *map(int, shard.tokens[shard.offsets[i] : shard.offsets[i + 1]])]
        done = 0
        start = 0
        while done < len(ids) - 1:
            window = ids[start : start + context + 1]
            segments = torch.tensor([[min(start + t, 1) for t in range(len(window) - 1)]], dtype=torch.int32)
            logp = net.logits(torch.tensor([window[:-1]]), segments if mask else None)[0].double().log_softmax(-1)
            for t in range(done - start, len(window) - 1):
                total -= float(logp[t, window[t + 1]])
            done = start + len(window) - 1
            start = done - overlap
    return total


@pytest.mark.parametrize("mask", [False, True])
@pytest.mark.parametrize(("context", "overlap"), [(16, 0), (16, 5), (48, 0), (200, 0)])
@torch.no_grad()
def test_equals_one_token_at_a_time(tmp_path, context, overlap, mask):
    net = model()
    for shard in write(tmp_path, TEXTS).values():
        got = score.score_shard(
            net, shard, eot_id=256, context_tokens=context, overlap_tokens=overlap, batch_tokens=96, document_mask=mask
        )
        single, double = (naive(n, shard, context, overlap, mask) for n in (net, model().double()))
        rounding = np.finfo(np.float32).eps * double
        assert abs(got.nll - double) <= 2 * abs(single - double) + rounding
        assert (got.tokens, got.documents, got.num_bytes) == (shard.num_tokens, shard.num_docs, shard.num_bytes)
        assert got.bpb == pytest.approx(got.nll / math.log(2) / shard.num_bytes)
        assert got.perplexity == pytest.approx(math.exp(got.nll / shard.num_tokens))


class HalfGroup(SoloGroup):
    """One of two ranks; what it would add is kept."""

    size = 2

    def __init__(self, rank, other=None):
        self.rank, self.other, self.sent = rank, other, None

    def allreduce_(self, array, op="sum"):
        self.sent = array.copy()
        if self.other is not None:
            array += self.other


@torch.no_grad()
def test_two_ranks_find_the_same_bits(tmp_path):
    net, shard = model(), write(tmp_path, TEXTS)["books"]
    options = {"eot_id": 256, "context_tokens": 16, "batch_tokens": 40}
    alone = score.score_shard(net, shard, **options)
    first = HalfGroup(0)
    score.score_shard(net, shard, world=first, **options)
    both = score.score_shard(net, shard, world=HalfGroup(1, first.sent), **options)
    assert 0 < first.sent.sum() < alone.nll
    assert both == alone


def test_total_is_one_text():
    a = score.Score(documents=1, tokens=10, num_bytes=20, nll=5.0, bits=5 / math.log(2))
    b = score.Score(documents=2, tokens=30, num_bytes=40, nll=7.0, bits=7 / math.log(2))
    both = score.total({"a": a, "b": b})
    assert (both.documents, both.tokens, both.num_bytes, both.nll) == (3, 40, 60, 12.0)
    assert both.bpb == pytest.approx(12 / math.log(2) / 60)
    packed = score.Score(documents=1, tokens=10, num_bytes=20, nll=None, bits=80.0)
    assert score.total({"a": packed}).perplexity is None


def test_an_empty_source_has_no_figures(tmp_path):
    shard = write(tmp_path, {"none": []})["none"]
    got = score.score_shard(model(), shard, eot_id=256, context_tokens=16)
    assert (got.bpb, got.perplexity) == (math.inf, None)
