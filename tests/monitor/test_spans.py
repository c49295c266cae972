import time

import pytest

from fasttrain.monitor.spans import COMM_OUTSIDE, Spans, outside, shares


def spend(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def test_an_inner_span_takes_its_time_from_the_outer_one():
    spans = Spans()
    begin = time.perf_counter()
    with spans("backward"):
        spend(0.02)
        with spans("totals"):
            spend(0.03)
        spend(0.02)
    with spans("backward"):
        spend(0.01)
    wall = time.perf_counter() - begin
    seconds = spans.take()
    assert set(seconds) == {"backward", "totals"}
    assert seconds["backward"] >= 0.05
    assert seconds["totals"] >= 0.03
    assert sum(seconds.values()) <= wall, "no second is counted twice"
    assert spans.take() == {}, "it starts again at zero"


def test_an_error_ends_its_span():
    spans = Spans()
    try:
        with spans("forward"):
            raise OSError
    except OSError:
        pass
    with spans("data"):
        spend(0.01)
    assert spans.take()["data"] >= 0.01


def test_outside_is_what_is_left():
    assert outside({"forward": 1.0, "backward": 2.0, "optimizer": 0.5, "data": 9.0}, 4.0) == 0.5
    assert outside({}, 4.0) == 4.0
    assert outside({"forward": 5.0}, 4.0) == 0.0


def test_communication_is_part_of_the_phase_that_it_lies_in():
    spans = Spans()
    with spans("forward"):
        spend(0.01)
        with spans("comm_wait"):
            spend(0.02)
        with spans("comm"):
            spend(0.03)
    with spans("comm"):
        spend(0.01)
        with spans("comm_wait"):
            spend(0.02)
    seconds = spans.take()
    assert seconds["forward"] >= 0.06
    assert seconds["comm_wait"] >= 0.04
    assert seconds["comm"] >= 0.04
    assert 0.03 <= seconds[COMM_OUTSIDE] <= seconds["comm"] + seconds["comm_wait"] - 0.05
    with spans("evaluation"), spans("comm_wait"):
        spend(0.01)
    assert set(spans.take()) == {"evaluation"}, "what is aside is not of the step"


def test_shares_of_a_step_by_hand():
    seconds = {"forward": 3.0, "backward": 4.0, "optimizer": 1.0, "data": 0.1, "comm": 0.7, "comm_wait": 0.5}
    told = shares(seconds | {COMM_OUTSIDE: 0.8}, 10.0, [0.5])
    assert told == pytest.approx({"comm_s": 1.2, "comm_wait_s": 0.5, "data_s": 0.1, "outside_s": 2.0, "host_s": 1.2})
    many = shares(seconds, 10.0, [0.4, 0.2, 0.9])
    assert (many["comm_wait_max_s"], many["slowest_rank"]) == (0.9, 1)
    assert shares(seconds, 10.0, [0.4, 0.2])["comm_wait_max_s"] == 0.5, "this rank has waited since"
    assert shares({}, 1.0, [0.0])["host_s"] == 1.0
