"""A model's settings as Hugging Face's config.json, and back, for the three families of model/family.py.

What changes the function of a model and is not had here is refused by the name of its key; what only concerns training
or serving (dropout, caches, dtypes, token ids) is read past.
"""

from collections.abc import Mapping
from typing import Any

from fasttrain.core.errors import ConfigError, FormatError
from fasttrain.model.config import ModelConfig
from fasttrain.model.family import Family, family_of
from fasttrain.nn.rope_scaling import RopeScaling

_ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM", "gpt2": "GPT2LMHeadModel"}
_LLAMA = {  # key of config.json -> ours
    "vocab_size": "vocab_size",
    "hidden_size": "dim",
    "intermediate_size": "ffn_dim",
    "num_hidden_layers": "num_layers",
    "num_attention_heads": "num_heads",
    "num_key_value_heads": "num_kv_heads",
    "head_dim": "head_dim",
    "max_position_embeddings": "max_seq_len",
    "rms_norm_eps": "norm_eps",
    "initializer_range": "init_std",
    "tie_word_embeddings": "tied_embeddings",
}
_GPT2 = {
    "vocab_size": "vocab_size",
    "n_embd": "dim",
    "n_inner": "ffn_dim",
    "n_layer": "num_layers",
    "n_head": "num_heads",
    "n_positions": "max_seq_len",
    "layer_norm_epsilon": "norm_eps",
    "initializer_range": "init_std",
    "tie_word_embeddings": "tied_embeddings",
}
_KEYS: dict[str, dict[str, str]] = {"llama": _LLAMA, "qwen3": _LLAMA, "gpt2": _GPT2}
_NEEDED = {
    "llama": ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    "qwen3": ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
    "gpt2": ("vocab_size", "n_embd", "n_layer", "n_head", "n_positions"),
}
# What transformers takes where a key is absent and its default is not ours.
_ABSENT: dict[str, dict[str, Any]] = {
    "llama": {"rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "tie_word_embeddings": False},
    "qwen3": {"rms_norm_eps": 1e-6, "max_position_embeddings": 32768, "tie_word_embeddings": False,
              "num_key_value_heads": 32, "head_dim": 128},
    "gpt2": {"layer_norm_epsilon": 1e-5, "tie_word_embeddings": True},
}  # fmt: skip
# Keys that change the function: the values under which the model is one of ours.
_MUST: dict[str, dict[str, tuple[Any, ...]]] = {
    "llama": {"attention_bias": (False,), "mlp_bias": (False,), "hidden_act": ("silu",)},
    "qwen3": {"attention_bias": (False,), "use_sliding_window": (False,), "hidden_act": ("silu",)},
    "gpt2": {"activation_function": ("gelu_new", "gelu_pytorch_tanh"), "scale_attn_weights": (True,),
             "scale_attn_by_inverse_layer_idx": (False,), "add_cross_attention": (False,)},
}  # fmt: skip
_NEVER = ("quantization_config", "num_experts", "num_local_experts", "n_routed_experts", "logit_scale",
          "attn_logit_softcapping", "final_logit_softcapping")  # fmt: skip


def exported_family(model: ModelConfig) -> Family:
    """The family as which a model is written. Raises ConfigError naming the switches that belong to none."""
    found = family_of(model)
    if found is None:
        switches = ("norm", "positions", "activation", "bias", "qk_norm", "num_kv_heads", "head_dim")
        raise ConfigError(
            f"export: a model with {', '.join(f'{k} = {getattr(model, k)!r}' for k in switches)} is neither a llama, a "
            "qwen3 nor a gpt2, so that transformers has no class for it; train with model.family to be sure"
        )
    return found


def to_hf_config(model: ModelConfig, *, eot_id: int, dtype: str) -> dict[str, Any]:
    """config.json. RoPE's settings stand in both places where versions of transformers look for them."""
    family = exported_family(model)
    config: dict[str, Any] = {"architectures": [_ARCHITECTURES[family]], "model_type": family}
    config |= {theirs: getattr(model, ours) for theirs, ours in _KEYS[family].items()}
    config |= {"bos_token_id": eot_id, "eos_token_id": eot_id, "use_cache": True, "dtype": dtype, "torch_dtype": dtype}
    if family == "gpt2":
        drop = dict.fromkeys(("attn_pdrop", "embd_pdrop", "resid_pdrop", "summary_first_dropout"), 0.0)
        return config | {"n_inner": model.F, "activation_function": "gelu_new"} | drop
    rope: dict[str, Any] = {"rope_type": "default"}
    if model.rope_scaling is not None:
        rope = {"rope_type": model.rope_scaling.kind, "factor": model.rope_scaling.factor}
        if model.rope_scaling.kind == "llama3":
            rope |= {
                "low_freq_factor": model.rope_scaling.low_freq_factor,
                "high_freq_factor": model.rope_scaling.high_freq_factor,
                "original_max_position_embeddings": model.rope_scaling.original_max_seq_len,
            }
        config["rope_scaling"] = rope
    config |= {
        "num_key_value_heads": model.Hkv,
        "head_dim": model.D,
        "intermediate_size": model.F,
        "hidden_act": "silu",
        "rope_theta": model.rope_theta,
        "rope_parameters": {**rope, "rope_theta": model.rope_theta},
        "attention_bias": False,
        "attention_dropout": 0.0,
    }
    return config | ({"use_sliding_window": False} if family == "qwen3" else {"mlp_bias": False, "pretraining_tp": 1})


def from_hf_config(config: Mapping[str, Any], where: str) -> ModelConfig:
    """The model that a config.json describes.

    Args:
        where: named in errors.
    Raises: FormatError: no such family, a key that is missing, or a feature that is not had here, by the key's name.
    """
    family = config.get("model_type")
    if family not in _ARCHITECTURES:
        raise FormatError(
            f"{where}: model_type must be {', '.join(_ARCHITECTURES)}, got {family!r}; only dense models of these "
            "families can be read"
        )
    for key in _NEEDED[family]:
        if not isinstance(config.get(key), int):
            raise FormatError(f"{where}: {key} must be a whole number, got {config.get(key)!r}")
    _check_features(config, family, where)
    settings: dict[str, Any] = {"family": family}
    for theirs, ours in _KEYS[family].items():
        value = config.get(theirs)
        value = _ABSENT[family].get(theirs) if value is None else value
        if value is not None:
            settings[ours] = value
    if family != "gpt2":
        settings |= _rope(config, where)
    return ModelConfig.load(settings, where=where)


def _check_features(config: Mapping[str, Any], family: str, where: str) -> None:
    for key in _NEVER:
        if config.get(key):
            raise FormatError(f"{where}: {key} is set ({config[key]!r}); a model with it cannot be read")
    for key, allowed in _MUST[family].items():
        if config.get(key, allowed[0]) not in allowed:
            raise FormatError(
                f"{where}: {key} must be {' or '.join(repr(a) for a in allowed)}, got {config[key]!r}; a {family} with "
                "it cannot be read"
            )
    if config.get("sliding_window") and config.get("use_sliding_window", family != "qwen3"):
        raise FormatError(
            f"{where}: sliding_window is set ({config['sliding_window']}); a model with it cannot be read"
        )
    other = sorted({str(kind) for kind in config.get("layer_types") or ()} - {"full_attention"})
    if other:
        raise FormatError(f"{where}: layer_types must all be 'full_attention', got {', '.join(other)}")


def _rope(config: Mapping[str, Any], where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in ("rope_scaling", "rope_parameters"):
        if not isinstance(config.get(key) or {}, Mapping):
            raise FormatError(f"{where}: {key} must be an object, got {config[key]!r}")
        found |= config.get(key) or {}
    kind = found.get("rope_type", found.get("type", "default"))
    theta = found.get("rope_theta", config.get("rope_theta", 10_000.0))
    if float(found.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0))) != 1.0:
        raise FormatError(f"{where}: partial_rotary_factor must be 1, got another; such a model cannot be read")
    settings: dict[str, Any] = {"rope_theta": float(theta)}
    if kind == "default":
        return settings
    if kind not in ("linear", "llama3"):
        raise FormatError(f"{where}: rope_type must be default, linear or llama3, got {kind!r}")
    names = {"factor": "factor"}
    if kind == "llama3":
        names |= {"low_freq_factor": "low_freq_factor", "high_freq_factor": "high_freq_factor",
                  "original_max_position_embeddings": "original_max_seq_len"}  # fmt: skip
    missing = [key for key in names if key not in found]
    if missing:
        raise FormatError(f"{where}: rope_scaling of type {kind} lacks {missing[0]}")
    scaling = RopeScaling.load({"kind": kind} | {names[key]: found[key] for key in names}, where=f"{where}: rope")
    return settings | {"rope_scaling": scaling.to_dict()}
