"""What Muon's products cost, and who does which. Ranks end with the bits of one process: tests/mpi/jobs/muon.py."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from fasttrain.optim.muon import orthogonalize
from fasttrain.optim.muon_work import assign, flops, multiply_adds

SHAPES = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300)), max_size=40)


@given(SHAPES, st.integers(1, 9))
def test_each_matrix_has_one_owner_and_no_rank_has_much_more_than_another(shapes, size):
    owned = assign(shapes, size)
    assert len(owned) == size
    assert sorted(i for mine in owned for i in mine) == list(range(len(shapes)))
    work = [sum(multiply_adds(shapes[i]) for i in mine) for mine in owned]
    dearest = max(map(multiply_adds, shapes), default=0)
    assert max(work) - min(work) <= dearest
    assert all(
        multiply_adds(shapes[a]) >= multiply_adds(shapes[b]) for mine in owned for a, b in itertools.pairwise(mine)
    )


@given(SHAPES, st.integers(1, 9))
def test_the_answer_depends_on_shapes_alone(shapes, size):
    assert assign(shapes, size) == assign([tuple(shape) for shape in shapes], size)
    turned = assign([(m, n) for n, m in shapes], size)
    assert turned == assign(shapes, size), "a matrix costs what its transpose does"


@pytest.mark.parametrize(("shape", "expected"), [((1, 1), 3), ((2, 5), 2 * 4 * 5 + 8), ((5, 2), 2 * 4 * 5 + 8)])
def test_multiply_adds_by_hand(shape, expected):
    """Y Y^T (n n m), its square (n n n) and their product with Y (n n m)."""
    assert multiply_adds(shape) == expected


def test_a_model_on_two_ranks_by_hand():
    shapes = [(4, 4), (8, 4), (8, 4), (4, 8), (4, 4)]  # 192, 320, 320, 320, 192
    assert assign(shapes, 2) == [[1, 3], [2, 0, 4]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 8), (8, 3), (16, 16), (40, 24)])
def test_flops_are_those_that_torch_counts(shape):
    """Every product of the update, counted as it runs."""
    counter = FlopCounterMode(display=False)
    with counter:
        orthogonalize(torch.randn(shape), dtype=torch.float32)
    assert counter.get_total_flops() == flops(shape)
