import pytest
import torch

from fasttrain.core.errors import ConfigError
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import flops_per_token, num_params
from fasttrain.model.init import init_, initial, param_shapes
from fasttrain.model.transformer import Transformer
from fasttrain.nn.dropout import DropoutKey

BASE = {"vocab_size": 97, "num_layers": 2, "dim": 32, "num_heads": 4}
CONFIGS = {
    "mha": BASE,
    "gqa": BASE | {"num_kv_heads": 2},
    "mqa, qk-norm, tied": BASE | {"num_kv_heads": 1, "qk_norm": True, "tied_embeddings": True},
    "own head and ffn": BASE | {"head_dim": 10, "ffn_dim": 44, "rope_theta": 5e5},
}


@pytest.fixture(params=CONFIGS, name="model")
def _model(request):
    return init_(Transformer(ModelConfig.load(CONFIGS[request.param])), seed=11)


def tokens(shape=(2, 16), seed=41):
    return torch.randint(0, 97, shape, generator=torch.Generator().manual_seed(seed))


def test_names_shapes_and_counts_match_the_closed_forms(model):
    shapes = param_shapes(model.config)
    assert {n: tuple(p.shape) for n, p in model.named_parameters()} == shapes
    assert list(model.state_dict()) == list(shapes)
    counted = num_params(model.config)
    assert counted.total == sum(p.numel() for p in model.parameters())
    assert counted.non_embedding == sum(p.numel() for n, p in model.named_parameters() if n[:4] not in ("embe", "head"))


def test_flops_by_hand():
    config = ModelConfig.load(BASE | {"ffn_dim": 64})
    matrices = 2 * (4 * 32 * 32 + 3 * 32 * 64) + 97 * 32
    assert flops_per_token(config, 16) == 6 * matrices + 6 * 2 * 32 * 16


def test_loss_is_cross_entropy_and_ignores(model):
    t, y = tokens(), tokens(seed=42)
    y[:, 3:5] = -100
    nll, z2 = model(t, y)
    logits = model.logits(t)
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), y, reduction="none", ignore_index=-100)
    torch.testing.assert_close(nll, expected)
    torch.testing.assert_close(z2, logits.logsumexp(-1).square() * (y != -100))
    assert (nll[:, 3:5] == 0).all()
    assert (z2[:, 3:5] == 0).all()


def test_decode_with_a_cache_equals_the_whole_forward(model):
    t = tokens()
    whole = model.logits(t)
    cache = model.new_cache(16)
    torch.testing.assert_close(model.decode(t[:, :7], cache), whole[:, 6])
    for i in range(7, 16):
        torch.testing.assert_close(model.decode(t[:, i : i + 1], cache), whole[:, i])
    with pytest.raises(ValueError, match="must hold at most 16 tokens, got 17"):
        model.decode(t[:, :1], cache)


def test_packed_documents_are_as_if_alone(model):
    t = tokens((1, 16))
    segments = torch.tensor([[3] * 5 + [4] * 10 + [-1]], dtype=torch.int32)
    packed = model.logits(t, segments)
    torch.testing.assert_close(packed[:, :5], model.logits(t[:, :5]))
    torch.testing.assert_close(packed[:, 5:15], model.logits(t[:, 5:15]))


def test_the_parts_called_one_by_one_equal_forward(model):
    t, y = tokens(), tokens(seed=42)
    context = model.context(16)
    x = model.embed_tokens(t, context)
    for block in model.blocks:
        x = block(x, context)
    nll, _ = model.head(model.norm(x), y)
    assert torch.equal(nll, model(t, y)[0])


def test_sliced_heads_add_up_to_the_whole():
    model = init_(Transformer(ModelConfig.load(CONFIGS["gqa"])), seed=5)
    context, x = model.context(16), torch.randn(2, 16, 32, generator=torch.Generator().manual_seed(1))
    attn = model.blocks[0].attn
    whole, D = attn(x, context), attn.head_dim
    parts = []
    for rank in range(2):
        part = init_(Transformer(model.config), seed=5).blocks[0].attn
        for name, heads in (("wq", 2), ("wk", 1), ("wv", 1)):
            linear = getattr(part, name)
            linear.weight.data = linear.weight.data[rank * heads * D : (rank + 1) * heads * D]
        part.wo.weight.data = part.wo.weight.data[:, rank * 2 * D : (rank + 1) * 2 * D]
        parts.append(part(x, context))
    torch.testing.assert_close(parts[0] + parts[1], whole)


def test_initial_weights_depend_on_seed_and_name_alone(model):
    small = init_(Transformer(model.config), seed=11)
    for (name, p), q in zip(model.named_parameters(), small.parameters()):
        assert torch.equal(p, q)
        assert torch.equal(p, initial(model.config, name, 11))
    assert not torch.equal(initial(model.config, "embed.weight", 12), model.embed.weight)


def test_initial_deviation():
    config = ModelConfig.load(BASE | {"vocab_size": 4000, "num_layers": 8, "dim": 64})
    for name, std in (
        ("embed.weight", 0.02),
        ("blocks.3.attn.wo.weight", 0.02 / 4),
        ("blocks.0.ffn.w_up.weight", 0.02),
    ):
        drawn = initial(config, name, 0)
        assert abs(drawn.std().item() / std - 1) < 4 / (2 * drawn.numel()) ** 0.5  # four sigma of a sample deviation


def test_dropout_does_not_depend_on_how_the_batch_is_split():
    model = init_(Transformer(ModelConfig.load(BASE | {"dropout": 0.3})), seed=5)
    t, y = tokens((4, 16)), tokens((4, 16), seed=42)
    whole, _ = model(t, y, dropout=DropoutKey(seed=1, step=7, rows=(8, 9, 10, 11)))
    for rows in ((0, 1), (2, 3)):
        part, _ = model(
            t[list(rows)], y[list(rows)], dropout=DropoutKey(seed=1, step=7, rows=tuple(8 + r for r in rows))
        )
        torch.testing.assert_close(part, whole[list(rows)])
    assert not torch.equal(whole, model(t, y)[0])
    assert not torch.equal(whole, model(t, y, dropout=DropoutKey(seed=1, step=8, rows=(8, 9, 10, 11)))[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_kv_heads": 3}, "model: num_kv_heads must divide num_heads, got num_kv_heads = 3 and num_heads = 4"),
        ({"dim": 30}, "model: num_heads must divide dim unless head_dim is given"),
        ({"head_dim": 7}, "model: head_dim must be even"),
        ({"dropout": 1.0}, "model.dropout: .* less than 1"),
        ({"n_layers": 3}, "model.n_layers: unknown key; did you mean 'num_layers'"),
    ],
)
def test_refuses(change, words):
    with pytest.raises(ConfigError, match=words):
        ModelConfig.load(BASE | change, where="model")


def test_a_model_without_a_vocabulary_is_refused():
    with pytest.raises(ValueError, match="vocab_size must be at least 1"):
        Transformer(ModelConfig.load(BASE | {"vocab_size": 0}))


def test_logits_equal_transformers(model):
    """Llama's; Qwen3's for the model with qk-norm, which Llama has not."""
    transformers = pytest.importorskip("transformers")
    c = model.config
    family = "Qwen3" if c.qk_norm else "Llama"
    config = getattr(transformers, f"{family}Config")(
        vocab_size=c.vocab_size,
        hidden_size=c.dim,
        intermediate_size=c.F,
        num_hidden_layers=c.num_layers,
        num_attention_heads=c.num_heads,
        num_key_value_heads=c.Hkv,
        head_dim=c.D,
        rms_norm_eps=c.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": c.rope_theta},
        tie_word_embeddings=c.tied_embeddings,
    )
    theirs = getattr(transformers, f"{family}ForCausalLM")(config).eval()
    names = {
        "embed.weight": "model.embed_tokens.weight",
        "norm.weight": "model.norm.weight",
        "head.weight": "lm_head.weight",
    }
    parts = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm"}
    parts |= {f"attn.w{x}": f"self_attn.{x}_proj" for x in "qkvo"}
    if c.qk_norm:
        parts |= {f"attn.{x}_norm": f"self_attn.{x}_norm" for x in "qk"}
    parts |= {f"ffn.w_{x}": f"mlp.{x}_proj" for x in ("gate", "up", "down")}
    for i in range(c.num_layers):
        names |= {f"blocks.{i}.{a}.weight": f"model.layers.{i}.{b}.weight" for a, b in parts.items()}
    weights = {names[n]: w for n, w in model.state_dict().items()}
    missing, unexpected = theirs.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"] if c.tied_embeddings else [], [])
    with torch.no_grad():
        torch.testing.assert_close(model.logits(tokens()), theirs(tokens()).logits, rtol=1e-5, atol=1e-5)


def test_bfloat16_autocast_stays_near_float32(model):
    t, y = tokens(), tokens(seed=42)
    exact, _ = model(t, y)
    with torch.autocast("cpu", torch.bfloat16):
        nll, z2 = model(t, y)
    assert nll.dtype == z2.dtype == torch.float32
    (nll + 1e-4 * z2).mean().backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in model.parameters())
    # A logit is a sum of about unit-sized products rounded to 8 bits a few times over: far inside 0.1 nats.
    torch.testing.assert_close(nll, exact, atol=0.1, rtol=0)


@pytest.mark.filterwarnings(
    "ignore:.*should not be instantiated:DeprecationWarning"
)  # Dynamo does it to every Function
def test_compiles_without_a_break():
    model = init_(Transformer(ModelConfig.load(CONFIGS["gqa"])), seed=11)
    t, y = tokens(), tokens(seed=42)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    nll, _ = compiled(t, y)
    torch.testing.assert_close(nll, model(t, y)[0])
    nll.sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
