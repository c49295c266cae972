"""fasttrain's parameters under Hugging Face's names, and the configuration that builds the same model in transformers.

A model without qk-norm is a Llama, one with qk-norm a Qwen3 (RMSNorm of each head's queries and keys before RoPE). RoPE
is the rotate-half form in both, so no weight is permuted.
"""

import re
from typing import Any

from fasttrain.model.config import ModelConfig

_OUTER = {
    "embed.weight": "model.embed_tokens.weight",
    "norm.weight": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
_INNER = {
    "attn_norm": "input_layernorm",
    "attn.wq": "self_attn.q_proj",
    "attn.wk": "self_attn.k_proj",
    "attn.wv": "self_attn.v_proj",
    "attn.wo": "self_attn.o_proj",
    "attn.q_norm": "self_attn.q_norm",
    "attn.k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn.w_gate": "mlp.gate_proj",
    "ffn.w_up": "mlp.up_proj",
    "ffn.w_down": "mlp.down_proj",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.weight")


def hf_name(name: str) -> str:
    """`blocks.3.attn.wq.weight` -> `model.layers.3.self_attn.q_proj.weight`. Raises KeyError for other names."""
    if name in _OUTER:
        return _OUTER[name]
    match = _BLOCK.fullmatch(name)
    if match is None or match[2] not in _INNER:
        raise KeyError(f"export: {name} is no parameter of a fasttrain model")
    return f"model.layers.{match[1]}.{_INNER[match[2]]}.weight"


def hf_config(model: ModelConfig, *, eot_id: int, dtype: str) -> dict[str, Any]:
    """config.json. RoPE's base stands in both places where versions of transformers look for it."""
    kind, architecture = ("qwen3", "Qwen3ForCausalLM") if model.qk_norm else ("llama", "LlamaForCausalLM")
    config = {
        "architectures": [architecture],
        "model_type": kind,
        "vocab_size": model.vocab_size,
        "hidden_size": model.dim,
        "intermediate_size": model.F,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.Hkv,
        "head_dim": model.D,
        "max_position_embeddings": model.max_seq_len,
        "hidden_act": "silu",
        "rms_norm_eps": model.norm_eps,
        "rope_theta": model.rope_theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "tie_word_embeddings": model.tied_embeddings,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "initializer_range": model.init_std,
        "bos_token_id": eot_id,
        "eos_token_id": eot_id,
        "use_cache": True,
        "dtype": dtype,
        "torch_dtype": dtype,
    }
    return config | ({"use_sliding_window": False} if model.qk_norm else {"mlp_bias": False, "pretraining_tp": 1})
