import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.made_shards import shard
from fasttrain.batch import packing_report
from fasttrain.batch.order import IGNORED, BatchConfig, Order

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=30).filter(lambda x: sum(x) > 1)


@given(LENGTHS, st.integers(1, 12), st.sampled_from(["concat", "best_fit"]))
def test_it_says_what_the_batches_of_an_epoch_hold(lengths, T, packing):
    s = shard(lengths)
    order = Order({"s": s}, {"s": 1.0}, BatchConfig(seq_len=T, global_batch=1, packing=packing))
    found = order.packing()["s"]
    n = order.num_sequences["s"]
    assert found["sequences"] == n
    batches = [order.batch(step) for step in range(n)]
    targets = sum(int((b.targets != IGNORED).sum()) for b in batches)
    if packing == "concat":
        assert found["padding"] == pytest.approx(1 - (targets + 1) / (n * T + 1))
    else:
        used = sum(span.length for step in range(n) for span in order.documents(step))
        assert used == s.num_tokens
        assert found["padding"] == pytest.approx(1 - used / (n * (T + 1)))
        pieces = np.zeros(len(lengths), np.int64)
        for step in range(n):
            for span in order.documents(step):
                index = int(span.doc_id[:2], 16) + 256 * int(span.doc_id[2:4], 16)
                pieces[index] += 1
        assert found["documents_cut"] == pytest.approx((pieces > 1).mean())


def test_by_hand():
    s = shard([5, 3, 8])  # edges of windows of 4 at 4, 8, 12
    concat = packing_report.report(s, 4, "concat", 4)
    assert (concat.documents_cut, concat.tokens_cut_off) == (2 / 3, (1 + 0 + 4) / 16)
    assert concat.padding == pytest.approx(1 - 16 / 17)
    best = packing_report.report(s, 4, "best_fit", 4)  # windows of 5: [5], [5 of 8], [3 + ...], [3]
    assert (best.documents_cut, best.tokens_cut_off) == (1 / 3, 3 / 16)
    assert best.padding == pytest.approx(1 - 16 / 20)


def test_a_large_shard_is_sampled_evenly(monkeypatch):
    s = shard([3, 9] * 500)
    exact = packing_report.report(s, 5, "best_fit", 1200)
    monkeypatch.setattr(packing_report, "_SAMPLE", 400)
    sampled = packing_report.report(s, 5, "best_fit", 1200)
    assert exact.documents_cut == 0.5
    assert sampled.documents_cut == pytest.approx(0.5, abs=0.01)
    assert sampled.padding == exact.padding
