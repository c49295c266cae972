from hypothesis import given
from hypothesis import strategies as st

from fasttrain.parallel.pipeline import schedule


@given(st.integers(0, 12), st.integers(1, 6))
def test_each_micro_batch_goes_forward_once_then_backward_once_in_order(num_micro, num_stages):
    for stage in range(num_stages):
        steps = list(schedule(num_micro, stage, num_stages))
        for kind in ("forward", "backward"):
            assert [i for k, i in steps if k == kind] == list(range(num_micro)), "neighbours rely on the order"
        held = 0
        for kind, i in steps:
            held += 1 if kind == "forward" else -1
            assert held <= num_stages - stage, "a stage holds no more than the stages behind it and itself"
            if kind == "backward":
                assert steps.index(("forward", i)) < steps.index(("backward", i))


@given(st.integers(0, 12), st.integers(1, 6))
def test_no_cycle_of_waiting_stages(num_micro, num_stages):
    """Played through with messages: some stage can always go on until all are done."""
    todo = [list(schedule(num_micro, stage, num_stages)) for stage in range(num_stages)]
    done = set()
    while any(todo):
        moved = False
        for stage, steps in enumerate(todo):
            if not steps:
                continue
            kind, i = steps[0]
            needs = (stage - 1, "forward", i) if kind == "forward" else (stage + 1, "backward", i)
            if needs in done or not 0 <= needs[0] < num_stages:
                done.add((stage, kind, i))
                steps.pop(0)
                moved = True
        assert moved, f"stuck with {todo}"


def test_the_schedule_of_the_docstring():
    first = [f"{kind[0].upper()}{i}" for kind, i in schedule(6, 0, 4)]
    assert first == ["F0", "F1", "F2", "F3", "B0", "F4", "B1", "F5", "B2", "B3", "B4", "B5"]
    last = [f"{kind[0].upper()}{i}" for kind, i in schedule(2, 3, 4)]
    assert last == ["F0", "B0", "F1", "B1"]
