"""The running average of the weights: saved, evaluated, resumed, exported."""

import pytest
import torch

from fasttrain.checkpoint import store
from fasttrain.core.errors import ConfigError
from fasttrain.parallel.engine import Engine
from train import made_run
from train.test_loop import assert_same, final, killing, steps

DECAY = 0.8


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    folder = made_run.make(tmp_path_factory.mktemp("averaged"))
    with pytest.MonkeyPatch.context() as patch:
        weights, update = [], Engine.update

        def seen(self, **kwargs):
            if not weights:
                weights.append({n: p.detach().clone() for n, p in self.stage.named.items()})
            update(self, **kwargs)
            weights.append({n: p.detach().clone() for n, p in self.stage.named.items()})

        patch.setattr(Engine, "update", seen)
        made_run.run(folder, train__ema_decay=DECAY)
    return folder, weights


def test_it_is_the_average_of_every_step(averaged):
    folder, weights = averaged
    saved = final(folder)
    for name in weights[0]:
        mean = weights[0][name].double()
        for later in weights[1:]:
            mean = DECAY * mean + (1 - DECAY) * later[name].double()
        torch.testing.assert_close(saved["ema." + name].double(), mean, rtol=1e-5, atol=1e-7)
        assert not torch.equal(saved["ema." + name], saved[name])


def test_training_is_as_without_it(averaged, tmp_path):
    plain = made_run.make(tmp_path)
    made_run.run(plain)
    theirs, mine = final(plain), final(averaged[0])
    assert all(torch.equal(tensor, mine[name]) for name, tensor in theirs.items())
    assert [line["val_loss"] for line in steps(plain) if "val_loss" in line] == [
        line["val_loss"] for line in steps(averaged[0]) if "val_loss" in line
    ]


def test_it_is_evaluated_with_its_own_weights(averaged, tmp_path):
    folder = averaged[0]
    told = [line["val_loss_ema"] for line in steps(folder) if "val_loss" in line]
    assert len(told) == 3
    checkpoint = store.load(store.newest(folder.checkpoints)).averaged()
    assert set(checkpoint.tensors) == {n for n in final(folder) if "." in n and not n.startswith(("optim.", "ema."))}
    swapped = made_run.make(tmp_path)
    seen, load = [], Engine.evaluate

    def only_once(self, micros):
        for name, parameter in self.stage.named.items():
            parameter.data.copy_(checkpoint.tensors[name])
        seen.append(load(self, micros).mean_loss)
        return load(self, micros)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Engine, "evaluate", only_once)
        made_run.run(swapped, train__num_steps=1)
    assert seen[0] == told[-1]


def test_killed_and_started_again_it_has_the_same_bits(averaged, tmp_path, monkeypatch):
    broken = made_run.make(tmp_path)
    with killing(monkeypatch, Engine, "update", 7):
        made_run.run(broken, train__ema_decay=DECAY)
    made_run.run(broken, train__ema_decay=DECAY)
    assert_same(broken, averaged[0])


def test_a_checkpoint_without_one_says_so(tmp_path):
    folder = made_run.make(tmp_path)
    made_run.run(folder)
    with pytest.raises(ConfigError, match="holds no averaged weights; train with train.ema_decay"):
        store.load(store.newest(folder.checkpoints)).averaged()
