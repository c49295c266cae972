"""Batches that grow: still a pure function of the step, the same for every rank count, and invertible."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch.made_shards import shard
from fasttrain.batch.config import BatchConfig
from fasttrain.batch.order import Order
from fasttrain.batch.window import cut_short
from fasttrain.core.config import fingerprint
from fasttrain.core.errors import ConfigError

SHARDS = {"web": shard([7, 30, 1, 12, 5, 5, 90, 3], "web", 10_000), "law": shard([64], "law", 30_000)}
WEIGHTS = {"web": 0.7, "law": 0.3}
STRETCHES = st.lists(
    st.fixed_dictionaries(
        {"steps": st.integers(1, 9)},
        optional={"global_batch": st.integers(1, 9), "seq_len": st.sampled_from([1, 2, 4, 8, 16])},
    ),
    max_size=4,
)


def config(warmup=(), **options):
    return BatchConfig.load({"seq_len": 16, "global_batch": 6, "warmup": list(warmup), **options})


@given(STRETCHES, st.integers(0, 60), st.integers(1, 5000))
def test_counts_are_the_sums_of_the_batches(warmup, batch, total):
    c = config(warmup)
    assert c.first_slot(batch) == sum(c.rows(b) for b in range(batch))
    assert c.num_tokens(batch) == 16 * c.first_slot(batch)
    assert c.smallest() <= min(c.rows(b) for b in range(60))
    n = c.num_batches(total)
    assert c.num_tokens(n) >= total > c.num_tokens(n - 1)


@given(STRETCHES)
def test_the_slots_are_those_of_an_order_without_a_warmup(warmup):
    """One batch after another holds the next sequences of the same list; within a batch the rows are permuted."""
    grown, one_by_one = Order(SHARDS, WEIGHTS, config(warmup)), Order(SHARDS, WEIGHTS, config(global_batch=1))
    for batch in range(30):
        source, sequence = grown._drawn(batch, np.arange(grown.config.rows(batch)))
        first = grown.config.first_slot(batch)
        singles = [one_by_one._drawn(slot, np.arange(1)) for slot in range(first, first + len(source))]
        assert sorted(zip(source, sequence)) == sorted((int(s[0]), int(q[0])) for s, q in singles)


WARMUP = [{"steps": 3, "global_batch": 2, "seq_len": 4}, {"steps": 2, "seq_len": 8}]


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_steps_and_documents_are_found_in_each_other(packing):
    order = Order(SHARDS, WEIGHTS, config(WARMUP, packing=packing))
    assert [len(order.batch(b).tokens) for b in range(7)] == [2, 2, 2, 6, 6, 6, 6]
    seen = {}
    for b in range(40):
        for span in order.documents(b):
            seen.setdefault(span.doc_id, set()).add(b)
    assert order.batches_of(seen.keys(), 40) == {d: sorted(steps) for d, steps in seen.items()}


def test_cutting_keeps_tokens_and_documents():
    batch = Order(SHARDS, WEIGHTS, config()).batch(3)
    short = cut_short(batch, 4)
    assert short.tokens.shape == (24, 4)
    for name in ("tokens", "targets"):
        np.testing.assert_array_equal(getattr(short, name).reshape(6, 16), getattr(batch, name))
    np.testing.assert_array_equal(short.sources, np.repeat(batch.sources, 4))
    was = batch.segments.reshape(24, 4)
    np.testing.assert_array_equal(
        short.segments[:, :, None] == short.segments[:, None], was[:, :, None] == was[:, None]
    )
    assert not short.segments[:, 0].any()
    with pytest.raises(ValueError, match="seq_len must divide the batch's 16 tokens, got 5"):
        cut_short(batch, 5)


def test_an_order_without_a_warmup_keeps_its_name():
    assert Order(SHARDS, WEIGHTS, config()).fingerprint != Order(SHARDS, WEIGHTS, config(WARMUP)).fingerprint
    plain = config().to_dict()
    del plain["warmup"]
    order = Order(SHARDS, WEIGHTS, config())
    assert order.fingerprint == fingerprint([order.data_fingerprint, order.weights, plain])


def test_a_piece_that_does_not_divide_is_refused():
    with pytest.raises(ConfigError, match=r"warmup.0.seq_len must divide seq_len = 16, got 5"):
        config([{"steps": 1, "seq_len": 5}])
