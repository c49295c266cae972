import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.batch.slots import MAX_SLOTS, Slots

WEIGHTS = st.lists(st.floats(1e-6, 1), min_size=1, max_size=14).map(lambda w: [x / sum(w) for x in w])


def test_by_hand():
    source, index = Slots([0.25, 0.75]).deal(np.arange(8))
    # source 1 takes floor(0.75 n + 1/2): 1, 2, 2, 3, 4, 5, 5, 6 after n = 1..8 slots
    assert source.tolist() == [1, 1, 0, 1, 1, 1, 0, 1]
    assert index.tolist() == [0, 1, 0, 2, 3, 4, 1, 5]


@given(WEIGHTS, st.integers(0, 10**9), st.integers(0, 300))
def test_deals_each_slot_once_and_in_order(weights, start, num):
    slots = Slots(weights)
    source, index = slots.deal(np.arange(start, start + num))
    before = np.array(slots.counts(start))
    for s in range(len(weights)):
        mine = index[source == s]
        np.testing.assert_array_equal(mine, before[s] + np.arange(len(mine)))
    after = before + np.bincount(source, minlength=len(weights))
    assert slots.counts(start + num) == after.tolist()
    assert after.sum() == start + num


@given(WEIGHTS, st.integers(1, 10**6), st.integers(0, 10**3))
def test_shares_hold_in_every_block(weights, block, b):
    slots = Slots(weights)
    low, high = np.array(slots.counts(b * block)), np.array(slots.counts((b + 1) * block))
    strays = np.abs(high - np.array(weights) * (b + 1) * block).max()
    rounding = 1e-8 * (b + 1) * block  # weights are kept to 2^-30
    assert strays <= slots.deviation + rounding
    assert (high >= low).all()
    if len(weights) <= 2:
        assert strays <= 0.5 + rounding


def test_shares_stray_by_less_than_one_for_usual_mixtures():
    for weights in ([0.6, 0.3, 0.1], [0.5, 0.2, 0.1, 0.1, 0.05, 0.05], [0.67, 0.15, 0.045, 0.045, 0.045, 0.025, 0.02]):
        n = np.arange(1, 5001)
        source, _ = Slots(weights).deal(n - 1)
        for s, w in enumerate(weights):
            assert np.abs(np.cumsum(source == s) - w * n).max() < 1.0


def test_a_tiny_source_comes_when_its_time_is_there():
    assert Slots([1e-6, 1 - 1e-6]).counts(3_000_000)[0] in (2, 3, 4)


def test_refuses_slots_past_exact_arithmetic():
    with pytest.raises(ValueError, match="slots: must be in"):
        Slots([1.0]).deal(np.array([MAX_SLOTS]))
    assert Slots([0.5, 0.5]).deal(np.array([MAX_SLOTS - 1]))[1][0] == MAX_SLOTS // 2 - 1
