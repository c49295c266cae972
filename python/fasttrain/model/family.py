"""The families that a model may be of: what each fixes, and what it usually has.

llama   Llama 2 and 3 (Touvron et al. 2023; Grattafiori et al. 2024)
qwen3   Qwen3, dense (Yang et al. 2025): a Llama whose queries and keys are normalised by head
gpt2    GPT-2 (Radford et al. 2019): layer norms, learned positions, GELU, biases, every head its own keys
"""

from collections.abc import Mapping
from typing import Any, Literal

Family = Literal["llama", "qwen3", "gpt2"]

FIXED: dict[str, dict[str, Any]] = {
    "llama": {"norm": "rms", "positions": "rope", "activation": "swiglu", "bias": False, "qk_norm": False},
    "qwen3": {"norm": "rms", "positions": "rope", "activation": "swiglu", "bias": False, "qk_norm": True},
    "gpt2": {"norm": "layer", "positions": "learned", "activation": "gelu_tanh", "bias": True, "qk_norm": False},
}
USUAL: dict[str, dict[str, Any]] = {
    "llama": {},
    "qwen3": {"norm_eps": 1e-6, "rope_theta": 1_000_000.0},
    "gpt2": {"max_seq_len": 1024, "tied_embeddings": True},
}


def filled(data: Mapping[str, Any]) -> dict[str, Any]:
    """A model's settings with what its family says; unchanged without one. Raises ValueError on a contradiction."""
    family = data.get("family")
    if family not in FIXED:
        return dict(data)
    for key, value in FIXED[family].items():
        if key in data and data[key] != value:
            raise ValueError(
                f"{key} must be {value!r} in family {family!r}, got {data[key]!r}; leave it out, or leave family out "
                "for a mixture of your own"
            )
    if family == "gpt2":
        _check_gpt2(data)
    return {**FIXED[family], **USUAL[family], **data}


def _check_gpt2(data: Mapping[str, Any]) -> None:
    heads, dim = data.get("num_heads"), data.get("dim")
    for key, wanted in (("num_kv_heads", heads), ("head_dim", dim // heads if heads and dim else None)):
        if wanted is not None and data.get(key) not in (None, wanted):
            raise ValueError(f"{key} must be {wanted} in family 'gpt2', got {data[key]}; leave it out")


def family_of(switches: Any) -> Family | None:
    """The family whose model has these switches (a ModelConfig); None when there is none."""
    found: Family | None = None
    for name in ("llama", "qwen3", "gpt2"):
        if all(getattr(switches, key) == value for key, value in FIXED[name].items()):
            found = name  # type: ignore[assignment]
    if found == "gpt2" and (switches.Hkv != switches.num_heads or switches.D * switches.num_heads != switches.dim):
        return None
    return found
