import math

import numpy as np
import pytest
import torch

from fasttrain.optim.clip import clip_coefficient, global_norm
from fasttrain.optim.sum_squares import sum_squares

OP = "sum_squares"


def draw(size):
    return np.random.default_rng(5).standard_normal(size, np.float32)


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 65_535, 65_536, 65_537, 200_001])
def test_every_implementation_gives_the_same_bits(impl, size):
    x = draw(size)
    assert sum_squares(x, impl=impl) == sum_squares(x, impl="reference")
    assert sum_squares(x, impl=impl) == pytest.approx(math.fsum((x.astype(float) ** 2).tolist()), rel=1e-13)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_matter(threads):
    x = draw(1_000_003)
    assert sum_squares(x, threads=threads) == sum_squares(x, threads=1)


def test_what_is_not_finite_shows(impl):
    x = draw(100)
    x[40] = np.inf
    assert sum_squares(x, impl=impl) == np.inf
    x[41] = np.nan
    assert math.isnan(sum_squares(x, impl=impl))
    assert math.isfinite(sum_squares(np.full(9, 1e38, np.float32), impl=impl))  # the square of a float fits a double


def test_global_norm_by_hand():
    assert global_norm([torch.tensor([3.0]), torch.full((2, 2), 2.0).t()]) == 5.0
    assert global_norm([torch.tensor(2.0).expand(4)]) == 4.0
    assert global_norm([]) == 0.0


def test_clip_coefficient():
    assert clip_coefficient(4.0, 1.0) == 0.25
    assert clip_coefficient(0.5, 1.0) == 1.0
    assert clip_coefficient(4.0, 0.0) == 1.0


def test_refuses():
    with pytest.raises(TypeError, match="sum_squares: x must have dtype float32, got float64"):
        sum_squares(np.zeros(3))
