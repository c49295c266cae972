import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fasttrain.core.errors import ConfigError
from fasttrain.model.family import FIXED
from fasttrain.parallel.plan import Plan, share
from parallel.made_mesh import SMALL, place


@given(st.integers(0, 1000), st.integers(1, 17))
def test_shares_are_even_and_leave_nothing_out(total, size):
    shares = [share(total, rank, size) for rank in range(size)]
    assert [i for s in shares for i in s] == list(range(total))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sorted(map(len, shares), reverse=True) == list(map(len, shares)), "the first ranks take one more"


GPT2 = SMALL.model_copy(update=FIXED["gpt2"] | {"num_kv_heads": None})


@pytest.mark.parametrize("base", [SMALL, GPT2], ids=["llama", "gpt2"])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize(("tp", "pp"), [(1, 1), (2, 1), (1, 2), (1, 3), (2, 3)])
def test_every_number_is_held_and_counted_once(tied, tp, pp, base):
    config = base.model_copy(update={"tied_embeddings": tied, "qk_norm": True})
    whole = {name: torch.zeros(shape) for name, shape in Plan(config, place()).shapes.items()}
    held = {name: tensor.clone() for name, tensor in whole.items()}
    for t in range(tp):
        for p in range(pp):
            plan = Plan(config, place(tp=(t, tp), pp=(p, pp)))
            for name in plan.names:
                plan.cut(name).of(held[name]).fill_(1.0)
                if plan.is_counted(name):
                    plan.cut(name).of(whole[name]).add_(1.0)
    for name in whole:
        assert held[name].eq(1.0).all(), f"no rank holds all of {name}"
        assert whole[name].eq(1.0).all(), f"{name} is not counted once"


def test_the_tied_embedding_lies_on_both_outer_stages():
    config = SMALL.model_copy(update={"tied_embeddings": True})
    first, middle, last = (Plan(config, place(pp=(p, 3))) for p in range(3))
    assert "embed.weight" in first.names
    assert "embed.weight" not in middle.names
    assert "embed.weight" in last.names
    assert not last.is_counted("embed.weight")


def test_biases_go_with_what_they_are_added_to():
    second = Plan(GPT2, place(tp=(1, 2)))
    assert second.cut("blocks.0.attn.wk.bias").kept == range(8, 16)
    assert second.cut("blocks.0.ffn.w_up.bias").kept == range(15, 30)
    for name in ("blocks.0.attn.wo.bias", "blocks.0.ffn.w_down.bias", "norm.bias", "positions.weight"):
        assert second.cut(name).dim is None
    first, last = (Plan(GPT2, place(pp=(p, 3))) for p in (0, 2))
    assert "positions.weight" in first.names
    assert "positions.weight" not in last.names
    assert {"norm.weight", "norm.bias"} <= set(last.names)


@pytest.mark.parametrize(
    ("changes", "mesh", "words"),
    [
        ({}, {"tp": (0, 8)}, r"model.num_heads: layout.tp must divide it, got 4 heads for layout.tp=8.*\[1, 2\]"),
        ({}, {"tp": (0, 4)}, r"model.num_kv_heads: layout.tp must divide it, got 2 heads for layout.tp=4.*\[1, 2\]"),
        ({}, {"pp": (0, 4)}, "layout.pp: must be at most model.num_layers = 3 .one layer a stage., got 4"),
        ({"vocab_size": 1}, {"tp": (0, 2)}, "layout.tp: must be at most model.vocab_size = 1, got 2"),
        ({"ffn_dim": 1}, {"tp": (0, 2)}, "layout.tp: must be at most model.ffn_dim = 1, got 2"),
    ],
)
def test_refuses_what_cannot_be_cut(changes, mesh, words):
    with pytest.raises(ConfigError, match=words):
        Plan(SMALL.model_copy(update=changes), place(**mesh))
