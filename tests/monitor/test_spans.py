import time

from fasttrain.monitor.spans import Spans, outside


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
