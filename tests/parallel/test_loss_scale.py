import pytest

from fasttrain.core.errors import FasttrainError
from fasttrain.parallel.loss_scale import LossScaler, make_scaler


def test_an_overflow_halves_and_good_steps_double():
    scaler = LossScaler(scale=1024.0, growth_steps=3)
    scaler.update(True)
    assert scaler.scale == 512.0
    for _ in range(3):
        scaler.update(False)
    assert scaler.scale == 1024.0
    scaler.update(False)
    scaler.update(True)
    assert (scaler.scale, scaler.good_steps) == (512.0, 0)


def test_its_state_goes_on():
    scaler = LossScaler(scale=64.0, good_steps=7)
    again = LossScaler()
    again.load_state(scaler.state())
    assert (again.scale, again.good_steps) == (64.0, 7)


def test_only_fp16_scales():
    for precision in ("fp32", "bf16"):
        scaler = make_scaler(precision)
        scaler.update(True)
        assert scaler.scale == 1.0
    assert make_scaler("fp16").scale > 1.0


def test_a_run_that_overflows_at_any_scale_ends_with_the_remedy():
    scaler = LossScaler(scale=2.0**-13)
    scaler.update(True)
    with pytest.raises(FasttrainError, match="use train.precision='bf16' or a lower optim.lr"):
        scaler.update(True)
