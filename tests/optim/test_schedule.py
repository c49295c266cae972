import itertools
import math

import pytest

from fasttrain.core.errors import ConfigError
from fasttrain.optim.config import OptimConfig, learning_rate


def rates(num_steps=100, **keys):
    config = OptimConfig.load({"lr": 1.0, "warmup_steps": 10, "min_lr_ratio": 0.1, **keys})
    return [learning_rate(config, step, num_steps) for step in range(num_steps)]


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "inverse_sqrt", "constant"])
def test_rises_then_never_rises_again(schedule):
    lr = rates(schedule=schedule)
    assert lr[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert all(a >= b for a, b in itertools.pairwise(lr[9:]))
    last = {"constant": 1.0, "inverse_sqrt": math.sqrt(10 / 100)}
    assert lr[-1] == pytest.approx(last.get(schedule, 0.1))


def test_by_hand():
    assert rates(schedule="linear")[54] == pytest.approx(0.1 + 0.9 * 0.5)
    assert rates(schedule="cosine")[39] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 3)))
    wsd = rates(schedule="wsd", decay_fraction=0.2)
    assert wsd[79] == 1.0
    assert wsd[89] == pytest.approx(0.1 + 0.9 * 0.5)


def test_inverse_square_root_by_hand():
    lr = rates(schedule="inverse_sqrt", warmup_steps=4, min_lr_ratio=0.3)
    assert lr[3:5] == pytest.approx([1.0, math.sqrt(4 / 5)])
    assert lr[15] == pytest.approx(0.5)
    assert lr[-1] == 0.3, "not below min_lr_ratio"
    assert rates(9, schedule="inverse_sqrt", warmup_steps=0, min_lr_ratio=0.0)[3] == pytest.approx(0.5)


def test_wsd_decays_over_a_number_of_steps_wherever_it_begins():
    whole = rates(60, schedule="wsd", decay_steps=15)
    assert whole[44] == 1.0
    branch = rates(15, schedule="wsd", decay_fraction=1.0, warmup_steps=0)
    assert branch == whole[45:], "a branch of 15 steps that only decays"


def test_without_warmup_and_one_step():
    assert rates(1, warmup_steps=0) == [pytest.approx(0.1)]
    assert rates(4, warmup_steps=0, schedule="constant") == [1.0] * 4


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"schedule": "cosin"}, "optim.schedule"),
        ({"betas": [0.9, 1.0]}, r"optim: betas must lie in \[0, 1\), got \[0.9, 1.0\]"),
        ({"lr": 0.0}, "optim.lr"),
        ({"warmup": 3}, "did you mean 'warmup_steps'"),
    ],
)
def test_refuses(keys, words):
    with pytest.raises(ConfigError, match=words):
        OptimConfig.load(keys, where="optim")
