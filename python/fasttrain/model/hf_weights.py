"""A model's parameters as Hugging Face's tensors, and back: names, Conv1D's transposed matrices, fused queries, keys
and values. RoPE is the rotate-half form on both sides, so that no weight is permuted.

transformers knows no muP: its two multipliers go into the weights that they scale (the last norm; queries or their
norm), and come out again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from fasttrain.model.config import ModelConfig
from fasttrain.model.hf_config import exported_family
from fasttrain.model.init import param_shapes
from fasttrain.model.width import attention_scale, output_scale

_LLAMA_OUTER = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
_LLAMA_BLOCK = {
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
_GPT2_OUTER = {"embed": "transformer.wte", "positions": "transformer.wpe", "norm": "transformer.ln_f",
               "head": "lm_head"}  # fmt: skip
_GPT2_BLOCK = {
    "attn_norm": "ln_1",
    "attn.wq": "attn.c_attn",
    "attn.wk": "attn.c_attn",
    "attn.wv": "attn.c_attn",
    "attn.wo": "attn.c_proj",
    "ffn_norm": "ln_2",
    "ffn.w_up": "mlp.c_fc",
    "ffn.w_down": "mlp.c_proj",
}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """How a tensor of the folder is made of parameters: one after another along dim 0, then turned over or not."""

    parts: tuple[str, ...]
    is_transposed: bool
    shape: tuple[int, ...]


def stored(model: ModelConfig) -> dict[str, Stored]:
    """Name in the folder -> what it is made of, in the model's order. Raises ConfigError: a model of no family."""
    is_gpt2 = exported_family(model) == "gpt2"
    shapes = param_shapes(model)
    parts: dict[str, list[str]] = {}
    for name in shapes:
        parts.setdefault(_hf_name(name, is_gpt2), []).append(name)
    found = {}
    for theirs, ours in parts.items():
        rows = sum(shapes[name][0] for name in ours)
        shape = (rows, *shapes[ours[0]][1:])
        turned = is_gpt2 and len(shape) == 2 and ours[0].startswith("blocks.")  # Conv1D keeps (in, out)
        found[theirs] = Stored(parts=tuple(ours), is_transposed=turned, shape=shape[::-1] if turned else shape)
    return found


def to_hf(model: ModelConfig, tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name in the folder, tensor) from full parameters under our names, one at a time."""
    for theirs, made in stored(model).items():
        parts = [tensors[name].detach() * s if (s := _scale(model, name)) != 1.0 else tensors[name].detach()
                 for name in made.parts]  # fmt: skip
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        yield theirs, whole.T if made.is_transposed else whole


class FromHf(Mapping[str, torch.Tensor]):
    """Parameters under our names, fp32, made of a folder's tensors; each is read when it is asked for."""

    def __init__(self, model: ModelConfig, read: Callable[[str], torch.Tensor]) -> None:
        """Args: read: name in the folder -> tensor, of the shape that `stored` says."""
        self._model, self._read, self._shapes = model, read, param_shapes(model)
        self._where: dict[str, tuple[str, int, bool]] = {}
        for theirs, made in stored(model).items():
            start = 0
            for name in made.parts:
                self._where[name] = theirs, start, made.is_transposed
                start += self._shapes[name][0]

    def __getitem__(self, name: str) -> torch.Tensor:
        theirs, start, is_transposed = self._where[name]
        whole = self._read(theirs)
        whole = whole.T if is_transposed else whole
        part = whole[start : start + self._shapes[name][0]].to(torch.float32, memory_format=torch.contiguous_format)
        scale = _scale(self._model, name)
        return part.contiguous() if scale == 1.0 else part / scale

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def _hf_name(name: str, is_gpt2: bool) -> str:
    outer, block, layers = (
        (_GPT2_OUTER, _GPT2_BLOCK, "transformer.h") if is_gpt2 else (_LLAMA_OUTER, _LLAMA_BLOCK, "model.layers")
    )
    module, _, kind = name.rpartition(".")
    if not module.startswith("blocks."):
        return f"{outer[module]}.{kind}"
    _, layer, inner = module.split(".", 2)
    return f"{layers}.{layer}.{block[inner]}.{kind}"


def _scale(model: ModelConfig, name: str) -> float:
    """What muP multiplies after this parameter and transformers does not."""
    if model.mup_base_dim is None:
        return 1.0
    if name.startswith("norm."):
        return output_scale(model)
    scores = attention_scale(model)
    queries = ".attn.q_norm." if model.qk_norm else ".attn.wq."
    return 1.0 if scores is None or queries not in name else scores * float(model.D) ** 0.5
