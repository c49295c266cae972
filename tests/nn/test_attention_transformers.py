"""Models of transformers with attn_implementation="fasttrain" against "sdpa" (or "eager", where sdpa cannot)."""

import pytest
import torch

from fasttrain.nn import attention_transformers
from fasttrain.nn.attention_transformers import attention_forward, register_attention

transformers = pytest.importorskip("transformers")
register_attention()

FAMILIES = {
    "Llama": {},
    "Qwen3": {"head_dim": 24},
    "Mistral": {"sliding_window": 5},
    "Gemma2": {"attn_logit_softcapping": 5.0, "sliding_window": 6, "query_pre_attn_scalar": 16, "head_dim": 16},
}


def build(family, how, dtype=torch.float32):
    keys = FAMILIES[family]
    config = getattr(transformers, f"{family}Config")(
        vocab_size=97,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        **keys,
    )
    config._attn_implementation = how
    torch.manual_seed(3)
    model = getattr(transformers, f"{family}ForCausalLM")(config)
    return model.to(dtype).train()


def rival(family):
    return "eager" if family == "Gemma2" else "sdpa"


def padded():
    g = torch.Generator().manual_seed(5)
    tokens = torch.randint(1, 97, (3, 19), generator=g)
    mask = torch.ones_like(tokens)
    mask[1, :7] = 0  # left, as generate pads
    mask[2, :12] = 0
    return tokens * mask, mask


def both_ways(family, how, dtype, tokens, **keys):
    model = build(family, how, dtype)
    labels = torch.where(keys["attention_mask"] > 0, tokens, -100) if "attention_mask" in keys else tokens
    out = model(tokens, labels=labels, **keys)
    out.loss.backward()
    real = keys.get("attention_mask", torch.ones_like(tokens)) > 0
    results = {"loss": out.loss.detach(), "logits": out.logits.detach()[real]}
    return results | {name: p.grad for name, p in model.named_parameters()}


BATCHES = ["whole", "padded", "padded on the right", "packed"]
COMPARED = [(f, b) for f in FAMILIES for b in BATCHES if f != "Gemma2" or "padded" not in b]  # eager's gradients: NaN


@pytest.mark.parametrize(("family", "batch"), COMPARED)
def test_logits_loss_and_gradients(family, batch):
    """Against fp64 by the rival: at most twice the rival's own error in fp32, plus one rounding."""
    tokens, mask = padded()
    keys = {}
    if batch == "padded":
        keys = {"attention_mask": mask}
    elif batch == "padded on the right":
        tokens, keys = tokens.flip(1), {"attention_mask": mask.flip(1)}
    elif batch == "packed":
        tokens = tokens.clamp(min=1)
        keys = {"position_ids": torch.tensor([[*range(6), *range(9), *range(4)]]).expand(3, -1)}
    exact = both_ways(family, rival(family), torch.float64, tokens, **keys)
    theirs = both_ways(family, rival(family), torch.float32, tokens, **keys)
    ours = both_ways(family, "fasttrain", torch.float32, tokens, **keys)
    for name, value in ours.items():
        size = exact[name].norm() + 1e-2 * max(x.norm() for x in exact.values())  # gradients that nearly cancel
        off, bound = ((x.double() - exact[name]).norm() for x in (value, theirs[name]))
        assert off <= 2 * bound + size * torch.finfo(torch.float32).eps, name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("cache", ["dynamic", "static"])
def test_generates_the_same_tokens(family, cache):
    tokens, mask = padded()
    results = []
    for how in (rival(family), "fasttrain"):
        model = build(family, how).eval()
        keys = {"cache_implementation": "static", "disable_compile": True} if cache == "static" else {}
        results.append(model.generate(tokens, attention_mask=mask, max_new_tokens=9, do_sample=False, **keys))
    assert torch.equal(*results)


@pytest.mark.parametrize("batch", BATCHES[1:3])
def test_padded_gradients_of_gemma_are_those_of_the_rows_alone(batch):
    tokens, mask = padded()
    if batch == "padded on the right":
        tokens, mask = tokens.flip(1), mask.flip(1)
    places = (mask.cumsum(1) - 1).clamp(min=0)
    got = both_ways("Gemma2", "fasttrain", torch.float64, tokens, attention_mask=mask, position_ids=places)
    rows = [t[m > 0][None] for t, m in zip(tokens, mask, strict=True)]
    alone = [both_ways("Gemma2", "eager", torch.float64, row)["logits"] for row in rows]
    rounding = 4 * torch.finfo(torch.float32).eps  # eager's softmax is fp32 whatever the model is; two layers
    torch.testing.assert_close(got["logits"], torch.cat(alone), rtol=rounding, atol=rounding)
    assert all(x.isfinite().all() for x in got.values())


def test_is_one_graph_under_compile():
    tokens, _ = padded()
    model = build("Llama", "fasttrain").eval()
    compiled = torch.compile(lambda t: model(t).logits, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(tokens), model(tokens).logits)


X = torch.zeros(1, 2, 4, 16)


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"dropout": 0.1}, ValueError, "dropout must be 0, got 0.1"),
        ({"position_bias": X}, ValueError, "position_bias must be None"),
        ({"attention_mask": torch.zeros(1, 1, 4, 4)}, TypeError, "must have dtype bool, got torch.float32"),
        ({"attention_mask": torch.ones(1, 2, 4, 4).bool()}, ValueError, r"shape \(B, 1, Tq, Tk\), got \(1, 2, 4, 4\)"),
        ({"attention_mask": ~torch.eye(4).bool()[None, None]}, ValueError, "must be one run, got a mask with holes"),
    ],
)
def test_refuses(keys, error, words):
    with pytest.raises(error, match=words):
        attention_forward(torch.nn.Identity(), X, X, X, **{"attention_mask": None, **keys})


def test_a_padding_mask_with_holes_is_refused():
    model = build("Llama", attention_transformers.NAME)
    with pytest.raises(ValueError, match="must be one run"):
        model(torch.ones(1, 4, dtype=torch.int64), attention_mask=torch.tensor([[1, 0, 1, 1]]))
