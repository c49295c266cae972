"""Each family against transformers' own model: logits, loss, gradients and greedy text, and both ways through a folder.

Rounding is measured from the model written out in float64 (plain_model.py). In fp32 transformers is some distance from
it; ours may be twice as far, and one rounding. That distance itself must be small, or the definition would be wrong.
"""

import pytest
import torch

from fasttrain.core.errors import ConfigError
from fasttrain.model.config import ModelConfig
from fasttrain.model.family import family_of
from fasttrain.model.hf_config import from_hf_config, to_hf_config
from fasttrain.model.hf_folder import read_config, read_weights
from fasttrain.model.hf_weights import FromHf, stored, to_hf
from fasttrain.model.init import init_, param_shapes
from fasttrain.model.transformer import Transformer
from model import plain_model

EPS = torch.finfo(torch.float32).eps
BASE = {"vocab_size": 97, "num_layers": 3, "dim": 32, "num_heads": 4, "max_seq_len": 48, "init_std": 0.1}
SCALING = {"factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_seq_len": 16}
MODELS = {
    "llama": {"family": "llama"},
    "llama, grouped, tied": {"family": "llama", "num_kv_heads": 2, "tied_embeddings": True, "ffn_dim": 72},
    "llama 3.1": {"family": "llama", "num_kv_heads": 1, "rope_theta": 5e5, "rope_scaling": SCALING},
    "llama, linear": {"family": "llama", "rope_scaling": {"kind": "linear", "factor": 2.0}, "norm_eps": 1e-6},
    "qwen3": {"family": "qwen3", "num_kv_heads": 2, "head_dim": 12},
    "qwen3, tied": {"family": "qwen3", "head_dim": 16, "tied_embeddings": True},
    "gpt2": {"family": "gpt2"},
    "gpt2, untied, narrow": {"family": "gpt2", "tied_embeddings": False, "ffn_dim": 40, "norm_eps": 1e-6},
    "muP llama": {"family": "llama", "mup_base_dim": 8, "mup_base_head_dim": 4},
    "muP qwen3, tied": {"family": "qwen3", "mup_base_dim": 16, "mup_base_head_dim": 4, "tied_embeddings": True},
    "muP gpt2": {"family": "gpt2", "mup_base_dim": 16, "mup_base_head_dim": 2},
}
TOKENS = torch.randint(0, 97, (3, 40), generator=torch.Generator().manual_seed(3))


def build(name):
    """A random model of which no vector is what it begins as: a norm or a bias in the wrong place is then seen."""
    model = init_(Transformer(ModelConfig.load(BASE | MODELS[name])), seed=11).eval()
    g = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter += 0.3 * torch.randn(parameter.shape, generator=g)
    return model


def load_in_transformers(config, tensors, **settings):
    transformers = pytest.importorskip("transformers")
    config = transformers.AutoConfig.for_model(**to_hf_config(config, eot_id=0, dtype="float32"), **settings)
    theirs = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    missing, unexpected = theirs.load_state_dict({n: t.clone() for n, t in tensors}, strict=False)
    assert not unexpected
    assert set(missing) <= {"lm_head.weight"}
    return theirs


@pytest.fixture(params=MODELS, name="pair")
def _pair(request):
    model = build(request.param)
    theirs = load_in_transformers(model.config, to_hf(model.config, model.state_dict()))
    exact = {n: p.detach().double().requires_grad_() for n, p in model.named_parameters()}
    return model, theirs, exact


def off(x, exact):
    """Relative error in norm."""
    return ((x.double() - exact).norm() / exact.norm()).item()


def by_layer(gradients):
    """A layer's gradients as one vector: a sum of cancelling terms has no relative accuracy of its own."""
    found = {}
    for name, gradient in gradients.items():
        found.setdefault(".".join(name.split(".")[:2]), []).append(gradient.flatten())
    return {name: torch.cat(parts) for name, parts in found.items()}


def test_logits_loss_and_gradients(pair):
    ours, theirs, exact = pair
    true = plain_model.loss(ours.config, exact, TOKENS)
    true_grads = dict(zip(exact, torch.autograd.grad(true, list(exact.values()))))
    nll, _ = ours(TOKENS[:, :-1], TOKENS[:, 1:].contiguous())
    nll.mean().backward()
    their_loss = theirs(TOKENS, labels=TOKENS).loss
    their_loss.backward()
    measured = {"loss": (off(nll.mean(), true), off(their_loss, true))}
    with torch.no_grad():
        true_logits = plain_model.logits(ours.config, exact, TOKENS)
        measured["logits"] = off(ours.logits(TOKENS), true_logits), off(theirs(TOKENS).logits, true_logits)
    grads = {n: p.grad for n, p in ours.named_parameters()}, to_our_names(ours.config, theirs)
    mine, other = map(by_layer, grads)
    measured |= {n: (off(mine[n], g), off(other[n], g)) for n, g in by_layer(true_grads).items()}
    assert not {n: pair for n, pair in measured.items() if pair[0] > 2 * pair[1] + EPS}
    # Rounding grows through the layers, forward and back (the bound of tests/mpi/jobs/layouts.py); scores are products
    # of two rounded sums under an exponent, for which a single tensor is allowed ten times that.
    small = 10 * 4 * 1.03 ** (2 * ours.config.num_layers) * EPS
    for name, true_grad in true_grads.items():
        # What every key has changes no softmax: the gradient of its bias is 0, and what comes out is rounding.
        scale = true_grads[name.replace("wk", "wq")].norm() if name.endswith("wk.bias") else true_grad.norm()
        assert all((g[name] - true_grad).norm() <= small * scale for g in grads), name
    assert all(max(pair) <= small for pair in measured.values()), measured


def to_our_names(config, theirs):
    """transformers' gradients under our names, cut and turned as the weights are."""
    named = dict(theirs.named_parameters())
    plain = config.model_copy(update={"mup_base_dim": None})
    found = FromHf(plain, lambda name: named[name].grad)
    factor = dict(to_hf(config, {n: torch.ones(s) for n, s in param_shapes(config).items()}))
    factor = FromHf(plain, factor.__getitem__)
    return {n: found[n] * factor[n] for n in found}  # a weight that muP's multiplier went into: by the chain rule


def test_greedy_text_is_the_same(pair):
    ours, theirs, _ = pair
    prompt = TOKENS[:1, :5]
    cache, fed, new = ours.new_cache(45), prompt, []
    for _ in range(40):
        new.append(ours.decode(fed, cache).argmax(-1).item())
        fed = torch.tensor([[new[-1]]])
    options = {"do_sample": False, "max_new_tokens": 40, "eos_token_id": None, "pad_token_id": 0}
    assert theirs.generate(prompt, attention_mask=torch.ones_like(prompt), **options)[0, 5:].tolist() == new


@pytest.mark.parametrize("name", [n for n in MODELS if "muP" not in n])
def test_a_folder_of_transformers_is_read_bit_for_bit(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    model = build(name)
    made = transformers.AutoConfig.for_model(**to_hf_config(model.config, eot_id=0, dtype="float32"))
    torch.manual_seed(4)
    theirs = transformers.AutoModelForCausalLM.from_config(made)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB")
    config = read_config(tmp_path)
    assert (
        config.to_dict()
        == model.config.model_copy(
            update={"num_kv_heads": config.num_kv_heads, "head_dim": config.head_dim, "ffn_dim": model.config.F}
        ).to_dict()
    )
    assert (config.Hkv, config.D) == (model.config.Hkv, model.config.D)
    weights = read_weights(tmp_path, config)
    assert {n: tuple(t.shape) for n, t in weights.items()} == param_shapes(config)
    named = dict(theirs.named_parameters())
    assert all(torch.equal(tensor, named[n]) for n, tensor in to_hf(config, weights))
    ours = Transformer(config)
    ours.load_state_dict(dict(weights))
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(TOKENS), theirs.eval()(TOKENS).logits)


def test_mup_comes_out_of_the_weights_that_it_went_into():
    for name in (n for n in MODELS if "muP" in n):
        model = build(name)
        folder = dict(to_hf(model.config, model.state_dict()))
        assert {n: made.shape for n, made in stored(model.config).items()} == {
            n: tuple(t.shape) for n, t in folder.items()
        }
        back = FromHf(model.config, folder.__getitem__)
        for key, tensor in model.state_dict().items():
            torch.testing.assert_close(back[key], tensor, rtol=2 * EPS, atol=0)


# ---- settings


def test_a_family_fills_what_is_not_given():
    gpt2 = ModelConfig.load(BASE | {"family": "gpt2", "max_seq_len": 64})
    assert (gpt2.norm, gpt2.positions, gpt2.activation, gpt2.bias, gpt2.tied_embeddings, gpt2.F) == (
        "layer", "learned", "gelu_tanh", True, True, 128)  # fmt: skip
    assert gpt2.max_seq_len == 64
    qwen3 = ModelConfig(family="qwen3", **BASE)
    assert (qwen3.qk_norm, qwen3.norm_eps, qwen3.rope_theta) == (True, 1e-6, 1e6)
    assert ModelConfig.load(qwen3.to_dict()) == qwen3
    for name in ("llama", "qwen3", "gpt2"):
        assert family_of(ModelConfig.load(BASE | {"family": name})) == name
    assert family_of(ModelConfig.load(BASE)) == "llama"
    assert family_of(ModelConfig.load(BASE | {"activation": "gelu_tanh"})) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "bert"}, "model.family: Input should be 'llama', 'qwen3' or 'gpt2', got 'bert'"),
        ({"family": "gpt2", "norm": "rms"}, "model: norm must be 'layer' in family 'gpt2', got 'rms'"),
        (
            {"family": "llama", "qk_norm": True},
            "model: qk_norm must be False in family 'llama', got True; leave it out",
        ),
        ({"family": "gpt2", "num_kv_heads": 2}, "model: num_kv_heads must be 4 in family 'gpt2', got 2"),
        ({"family": "gpt2", "head_dim": 16}, "model: head_dim must be 8 in family 'gpt2', got 16"),
        ({"family": "gpt2", "rope_scaling": SCALING}, "model: rope_scaling needs positions = 'rope'"),
        ({"rope_scaling": SCALING | {"factr": 2}}, "model.rope_scaling.factr: unknown key; did you mean 'factor'"),
        ({"rope_scaling": SCALING | {"low_freq_factor": 4.0}}, "model.rope_scaling: high_freq_factor must be greater"),
        ({"mup_base_head_dim": 8}, "model: mup_base_head_dim needs mup_base_dim"),
    ],
)
def test_refuses(change, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig.load(BASE | change, where="model")


def test_a_model_of_no_family_is_not_exported():
    config = ModelConfig.load(BASE | {"norm": "layer"})
    with pytest.raises(
        ConfigError, match="export: a model with norm = 'layer'.* is neither a llama, a qwen3 nor a gpt2"
    ):
        to_hf_config(config, eot_id=0, dtype="float32")


def test_every_mixture_of_switches_trains():
    for norm in ("rms", "layer"):
        for positions in ("rope", "learned"):
            for activation in ("swiglu", "gelu_tanh"):
                switches = {
                    "norm": norm,
                    "positions": positions,
                    "activation": activation,
                    "bias": True,
                    "qk_norm": True,
                }
                model = init_(Transformer(ModelConfig.load(BASE | switches)), seed=1)
                exact = {n: p.detach().double() for n, p in model.named_parameters()}
                with torch.no_grad():
                    true = plain_model.logits(model.config, exact, TOKENS)
                    assert off(model.logits(TOKENS), true) < 4 * 1.03**6 * EPS


def test_learned_positions_end_and_restart_with_each_document():
    model = build("gpt2")
    with pytest.raises(ValueError, match="learned positions hold at most max_seq_len = 48 tokens, got 49"):
        model.logits(torch.zeros(1, 49, dtype=torch.long))
    segments = torch.tensor([[0] * 15 + [1] * 25], dtype=torch.int32)
    packed = model.logits(TOKENS[:1], segments)
    torch.testing.assert_close(packed[:, 15:], model.logits(TOKENS[:1, 15:]))
    assert from_hf_config(to_hf_config(model.config, eot_id=0, dtype="float32"), "x").max_seq_len == 48
