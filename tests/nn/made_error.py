"""What the tests of the fused ops share: errors against float64, and memory that is not zero by luck."""

import threading
from contextlib import contextmanager

import torch


def hold_error(got, reference, exact, terms=None):
    """In norm, for each tensor: at most twice the reference's error plus one rounding of the result, or of `terms`
    where the result is their difference and may nearly cancel."""
    for name, value in got.items():
        assert value.dtype == reference[name].dtype, name
        size = (terms or {}).get(name, exact[name]).norm()
        ours, theirs = ((x[name].double() - exact[name]).norm() for x in (got, reference))
        assert ours <= 2 * theirs + size * torch.finfo(value.dtype).eps / 2, name


@contextmanager
def poisoned_memory():
    """In here, memory that torch hands out uninitialised holds NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        assert torch.empty(3).isnan().all()
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def under_load():
    """In here two threads keep the machine busy with products, and torch has three for its own."""
    stop = threading.Event()

    def load():
        x = torch.randn(300, 300)
        while not stop.is_set():
            x = torch.tanh(x @ x)

    others = [threading.Thread(target=load) for _ in range(2)]
    before = torch.get_num_threads()
    for other in others:
        other.start()
    try:
        torch.set_num_threads(3)
        yield
    finally:
        torch.set_num_threads(before)
        stop.set()
        for other in others:
            other.join()


def on_threads(numbers, run):
    """The results of `run()` with each number of torch's threads."""
    before, results = torch.get_num_threads(), []
    try:
        for number in numbers:
            torch.set_num_threads(number)
            results.append(run())
    finally:
        torch.set_num_threads(before)
    return results


def assert_same_bits(got, expected):
    for name, value in expected.items():
        assert torch.equal(got[name], value), name


def hold_the_same_bits(run, times=200):
    """Under load `run()` gives the bits of its first time every time, on three threads whatever the suite has."""
    with under_load():
        first = run()
        for _ in range(times):
            assert_same_bits(run(), first)
