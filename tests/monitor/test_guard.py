import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.comm.group import SoloGroup
from fasttrain.monitor.guard import Decision, Guard, GuardConfig, SkipList

BAD = [math.nan, math.inf, -math.inf]


def run(guard, steps, seed=5):
    draws = random.Random(seed)
    for k in range(steps):
        decision = guard.check(4.0 - 0.001 * k + draws.gauss(0, 0.02), math.exp(draws.gauss(0, 0.1)))
        assert decision.action == "ok", (k, decision)


@pytest.mark.parametrize("policy", ["log", "skip", "rollback", "halt"])
@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", ["loss", "norm"])
@pytest.mark.parametrize("warm", [0, 200])
def test_what_is_not_finite_never_reaches_the_weights(policy, bad, where, warm):
    guard = Guard(GuardConfig(policy=policy))
    run(guard, warm)
    decision = guard.check(bad if where == "loss" else 4.0, bad if where == "norm" else 1.0)
    assert not decision.may_update
    assert decision.action == {"log": "skip"}.get(policy, policy)
    assert "non-finite" in decision.reason


def test_a_nan_does_not_blind_the_detector():
    """The published failure: after one NaN in the running sums, a 10x spike passes unseen."""
    guard = Guard(GuardConfig(policy="skip"))
    run(guard, 200)
    assert guard.check(math.nan, 1.0).action == "skip"
    assert guard.check(40.0, 1.0).action == "skip"
    assert guard.check(3.8, 1.0).action == "ok"


def test_one_nan_does_not_skip_the_steps_after_it():
    """The other published failure: a NaN mean makes every one of the next `window` steps look like a spike."""
    guard = Guard(GuardConfig(policy="skip"))
    run(guard, 200)
    guard.check(math.nan, math.nan)
    run(guard, 200, seed=6)


@pytest.mark.parametrize("policy", ["log", "skip", "rollback", "halt"])
@pytest.mark.parametrize(("loss", "norm"), [(8.0, 1.0), (3.8, 100.0)])
def test_a_spike_follows_the_policy(policy, loss, norm):
    guard = Guard(GuardConfig(policy=policy))
    run(guard, 200)
    decision = guard.check(loss, norm)
    assert decision.action == policy
    assert decision.may_update == (policy == "log")
    assert "spike of the loss" in decision.reason if loss > 5 else "gradient norm" in decision.reason


def test_flagged_values_never_enter_the_window():
    guard = Guard(GuardConfig(policy="skip", max_consecutive=1000))
    run(guard, 200)
    before = guard.state_dict()
    for _ in range(500):
        assert guard.check(9.0, 1.0).action == "skip"
    after = guard.state_dict()
    assert after["losses"] == before["losses"]
    assert after["norms"] == before["norms"]


def test_a_falling_loss_is_no_spike_and_a_quiet_window_has_a_floor():
    guard = Guard(GuardConfig())
    for k in range(300):
        assert guard.check(10.0 * 0.98**k + 1, 1.0).action == "ok"
    guard = Guard(GuardConfig())
    for _ in range(100):
        guard.check(4.0, 1.0)
    assert guard.check(4.05, 1.05).action == "ok"


def test_z_worked_by_hand():
    """Window 1..11: median 6, MAD 3, 90 % quantile 10. Then with a long tail upwards: median 1, MAD 0, quantile 3."""
    guard = Guard(GuardConfig(warmup_steps=11, window=11))
    for loss in range(1, 12):
        guard.check(loss, 1.0)
    assert guard.check(15.0, 1.0).loss_z == pytest.approx(9 / (1.4826 * 3))
    guard = Guard(GuardConfig(warmup_steps=11, window=11))
    for loss in [1.0] * 8 + [2.0, 3.0, 4.0]:
        guard.check(loss, math.exp(loss))
    decision = guard.check(5.0, math.exp(5.0))
    assert decision.loss_z == decision.norm_z == pytest.approx(4 / (2 / 1.2816))


def test_a_rare_document_in_a_small_batch_is_no_spike_and_hides_none():
    """Norms of 10 to 25 times the median every 30 steps: one sequence of four in another script than the others."""
    guard = Guard(GuardConfig(policy="skip"))
    draws = random.Random(11)
    for k in range(2000):
        norm = math.exp(draws.gauss(0.2, 0.1)) * (draws.uniform(10, 25) if k % 30 == 29 else 1.0)
        assert guard.check(4.5 + draws.gauss(0, 0.4) + (k % 30 == 29), norm).action == "ok", k
    assert guard.check(4.5, 1000.0).action == "skip"
    assert guard.check(13.0, 1.0).action == "skip"


def test_too_many_in_a_row_halt_under_any_policy():
    guard = Guard(GuardConfig(policy="log", max_consecutive=3))
    run(guard, 100)
    actions = [guard.check(math.nan, 1.0).action for _ in range(4)]
    assert actions == ["skip", "skip", "skip", "halt"]


def test_logged_spikes_never_halt_and_a_lasting_level_becomes_the_window():
    config = GuardConfig(policy="log", max_consecutive=3, window=64)
    guard = Guard(config)
    run(guard, 200)
    draws = random.Random(9)
    shifted = [6.0 + draws.gauss(0, 0.02) for _ in range(300)]
    actions = [guard.check(loss, 1.0).action for loss in shifted]
    assert actions == ["log"] * config.window + ["ok"] * (300 - config.window)
    assert guard.check(20.0, 1.0).action == "log"  # the new level's own spikes are seen


def test_logged_spikes_with_good_steps_between_never_enter_the_window():
    guard = Guard(GuardConfig(policy="log", max_consecutive=2, window=16, warmup_steps=16))
    run(guard, 100)
    for _ in range(50):
        for _ in range(15):
            assert guard.check(9.0, 1.0).action == "log"
        assert guard.check(3.9, 1.0).action == "ok"
    assert max(guard.state_dict()["losses"]) < 5


def test_under_log_only_what_is_not_finite_counts_towards_the_halt():
    guard = Guard(GuardConfig(policy="log", max_consecutive=2))
    run(guard, 100)
    pattern = [math.nan, math.nan, 9.0] * 5
    assert [guard.check(loss, 1.0).action for loss in pattern] == ["skip", "skip", "log"] * 5
    assert [guard.check(math.inf, 1.0).action for _ in range(3)] == ["skip", "skip", "halt"]


def test_a_run_of_logged_spikes_goes_through_a_checkpoint():
    one, two = (Guard(GuardConfig(policy="log", window=16, warmup_steps=16)) for _ in range(2))
    run(one, 50)
    for _ in range(10):
        one.check(9.0, 1.0)
    two.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for _ in range(20):
        assert one.check(9.0, 1.0) == two.check(9.0, 1.0)
    assert one.state_dict() == two.state_dict()


def test_state_goes_through_a_checkpoint():
    one, two = Guard(GuardConfig()), Guard(GuardConfig())
    run(one, 150)
    one.roll_back(150)
    two.load_state_dict(one.state_dict())
    for value in [3.9, math.nan, 9.0, 3.85]:
        assert one.check(value, 1.0) == two.check(value, 1.0)
    assert one.skips.to_list() == two.skips.to_list() == [[150, 159]]


def test_ranks_take_the_harshest_decision():
    class Three(SoloGroup):
        size = 3

        def allgather(self, obj):
            return [obj, "rollback", "ok"]

    guard = Guard(GuardConfig())
    assert guard.agree(Decision("ok"), Three()).action == "rollback"
    assert guard.agree(Decision("halt", "x"), Three()) == Decision("halt", "x")


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=8))
def test_the_skip_list_counts_past_what_is_left_out(ranges):
    skips = SkipList()
    gone = set()
    for begin, length in ranges:
        skips.add(begin, begin + length)
        gone |= set(range(begin, begin + length))
    left = [b for b in range(400) if b not in gone]
    assert [skips.batch_of(s) for s in range(100)] == left[:100]
    assert SkipList(skips.to_list()).to_list() == skips.to_list()


def test_skip_list_refuses_nonsense():
    with pytest.raises(ValueError, match="need 0 <= begin < end"):
        SkipList().add(3, 3)
