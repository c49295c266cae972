"""Folders that are not what they should be: each is refused by the name of the key or tensor."""

import json

import pytest
import torch
from safetensors.torch import save_file

from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.model.config import ModelConfig
from fasttrain.model.hf_config import to_hf_config
from fasttrain.model.hf_folder import is_hf_folder, read_config, read_weights
from fasttrain.model.hf_weights import to_hf
from fasttrain.model.init import init_
from fasttrain.model.transformer import Transformer

BASE = {"vocab_size": 31, "num_layers": 2, "dim": 16, "num_heads": 2, "max_seq_len": 8}


def write(folder, family, change=None, config=None, **settings):
    """A folder of a small model; `change` edits its tensors, `config` its config.json (None takes a key out)."""
    model = init_(Transformer(ModelConfig.load(BASE | {"family": family} | settings)), 1)
    tensors = {name: t.contiguous() for name, t in to_hf(model.config, model.state_dict())}
    folder.mkdir(exist_ok=True)
    tensors = change(tensors) if change else tensors
    save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "model.safetensors")
    written = to_hf_config(model.config, eot_id=0, dtype="float32") | (config or {})
    (folder / "config.json").write_text(json.dumps({k: v for k, v in written.items() if v is not None}))
    return model


def read(folder):
    return dict(read_weights(folder, read_config(folder)))


@pytest.mark.parametrize(
    ("family", "config", "words"),
    [
        ("llama", {"model_type": "mistral"}, "config.json: model_type must be llama, qwen3, gpt2, got 'mistral'"),
        ("qwen3", {"model_type": "qwen3_moe"}, "model_type must be .*, got 'qwen3_moe'; only dense models"),
        ("llama", {"num_local_experts": 8}, r"num_local_experts is set \(8\)"),
        ("llama", {"quantization_config": {"bits": 4}}, "quantization_config is set"),
        ("llama", {"attention_bias": True}, "attention_bias must be False, got True; a llama with it cannot be read"),
        ("llama", {"mlp_bias": True}, "mlp_bias must be False, got True"),
        ("llama", {"hidden_act": "gelu"}, "hidden_act must be 'silu', got 'gelu'"),
        ("llama", {"sliding_window": 4096}, r"sliding_window is set \(4096\)"),
        ("llama", {"hidden_size": None}, "hidden_size must be a whole number, got None"),
        ("llama", {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "rope_type must be .*, got 'yarn'"),
        ("llama", {"rope_parameters": {"rope_type": "llama3", "factor": 4.0}}, "of type llama3 lacks low_freq_factor"),
        ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor must be 1"),
        ("llama", {"num_attention_heads": 3}, "config.json: num_kv_heads must divide num_heads, got"),
        ("qwen3", {"use_sliding_window": True}, "use_sliding_window must be False, got True"),
        ("qwen3", {"attention_bias": True}, "attention_bias must be False"),
        ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types must all be 'full_attention'"),
        ("gpt2", {"activation_function": "relu"}, "activation_function must be 'gelu_new' or 'gelu_pytorch_tanh'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx must be False"),
        ("gpt2", {"scale_attn_weights": False}, "scale_attn_weights must be True"),
        ("gpt2", {"n_embd": "16"}, "n_embd must be a whole number, got '16'"),
    ],
)
def test_what_is_not_had_is_refused_by_its_key(family, config, words, tmp_path):
    write(tmp_path, family, config=config)
    with pytest.raises((FormatError, ConfigError), match=words):
        read(tmp_path)


def without(tensors, name):
    return {k: v for k, v in tensors.items() if k != name}


ZEROS = torch.zeros(16, 16)
Q = "model.layers.1.self_attn.q_proj"


@pytest.mark.parametrize(
    ("family", "change", "words"),
    [
        ("llama", lambda t: without(t, f"{Q}.weight"), rf"lacks {Q}.weight of shape \(16, 16\)"),
        ("llama", lambda t: t | {f"{Q}.weight": ZEROS[:, :8]}, r"q_proj.weight must have shape \(16, 16\), got"),
        ("llama", lambda t: t | {f"{Q}.bias": ZEROS[0]}, f"holds {Q}.bias, which a llama of this config.json"),
        ("llama", lambda t: t | {f"{Q}.weight": ZEROS.char()}, "q_proj.weight must hold F64, F32, F16, BF16"),
        ("llama", lambda t: without(t, "lm_head.weight"), "lacks lm_head.weight"),
        ("gpt2", lambda t: t | {"transformer.h.0.attn.c_attn.weight": torch.zeros(48, 16)},
         r"c_attn.weight must have shape \(16, 48\), got \(48, 16\)"),
        ("gpt2", lambda t: without(t, "transformer.wpe.weight"), r"lacks transformer.wpe.weight of shape \(8, 16\)"),
    ],
)  # fmt: skip
def test_tensors_that_do_not_fit_are_named(family, change, words, tmp_path):
    write(tmp_path, family, change)
    with pytest.raises(FormatError, match=words):
        read(tmp_path)


def test_damage_is_named(tmp_path):
    write(tmp_path, "llama")
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-64])
    with pytest.raises(FormatError, match="model.safetensors: cannot be read"):
        read(tmp_path)
    file.unlink()
    with pytest.raises(FormatError, match=r"holds no \*.safetensors"):
        read(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-1.safetensors"}}')
    with pytest.raises(FormatError, match="model-1.safetensors: cannot be read"):
        read(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(FormatError, match="must hold a weight_map"):
        read(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(FormatError, match="config.json: not valid JSON"):
        read(tmp_path)


def test_what_older_versions_saved_is_read(tmp_path):
    """The first GPT-2's names have no prefix and its masks are tensors; a Llama's tables were; bf16 is made fp32."""

    def first(tensors):
        bare = {k.removeprefix("transformer."): v.bfloat16() for k, v in tensors.items() if k != "lm_head.weight"}
        return bare | {f"h.{i}.attn.bias": torch.ones(1, 1, 8, 8) for i in range(2)}

    model = write(tmp_path / "gpt2", "gpt2", first)
    found = read(tmp_path / "gpt2")
    for name, tensor in model.state_dict().items():
        assert found[name].dtype == torch.float32
        assert torch.equal(found[name], tensor.bfloat16().float())
    tables = {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(4)}
    model = write(tmp_path / "llama", "llama", lambda t: t | tables | {"lm_head.weight": torch.zeros(31, 16)},
                  {"rope_parameters": None, "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2}},
                  tied_embeddings=True)  # fmt: skip
    config = read_config(tmp_path / "llama")
    assert (config.rope_theta, config.rope_scaling.kind, config.rope_scaling.factor) == (5e5, "linear", 2.0)
    assert "head.weight" not in read(tmp_path / "llama")


def test_what_transformers_takes_for_absent_keys_is_taken(tmp_path):
    write(tmp_path, "llama", config={"rms_norm_eps": None, "num_key_value_heads": None, "head_dim": None,
                                     "rope_parameters": None, "rope_theta": None})  # fmt: skip
    config = read_config(tmp_path)
    assert (config.norm_eps, config.Hkv, config.D, config.rope_theta) == (1e-6, 2, 8, 10_000.0)
    assert is_hf_folder(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    assert not is_hf_folder(tmp_path)
    assert not is_hf_folder(tmp_path / "none")
