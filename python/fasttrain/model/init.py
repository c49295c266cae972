"""Initial weights: each tensor is drawn whole from a generator of (seed, its global name): every layout starts alike.

Scheme: N(0, init_std) for all matrices, N(0, init_std / sqrt(2 L)) for the two that write to the residual stream (wo,
w_down), ones for norms.
Source: GPT-2 (Radford et al. 2019), 0.02 and the scaled residual projections; OLMo 2 keeps N(0, 0.02).
"""

import math

import torch
from torch import Tensor

from fasttrain.model.config import ModelConfig
from fasttrain.model.transformer import Transformer
from fasttrain.nn.dropout import seed_of


def param_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Global name -> shape of each parameter, in the model's order, whatever the layout."""
    C, D, F, V = config.dim, config.D, config.F, config.vocab_size
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (V, C)}
    for i in range(config.num_layers):
        block = f"blocks.{i}"
        shapes[f"{block}.attn_norm.weight"] = (C,)
        shapes[f"{block}.attn.wq.weight"] = (config.num_heads * D, C)
        shapes[f"{block}.attn.wk.weight"] = (config.Hkv * D, C)
        shapes[f"{block}.attn.wv.weight"] = (config.Hkv * D, C)
        shapes[f"{block}.attn.wo.weight"] = (C, config.num_heads * D)
        if config.qk_norm:
            shapes[f"{block}.attn.q_norm.weight"] = (D,)
            shapes[f"{block}.attn.k_norm.weight"] = (D,)
        shapes[f"{block}.ffn_norm.weight"] = (C,)
        shapes[f"{block}.ffn.w_gate.weight"] = (F, C)
        shapes[f"{block}.ffn.w_up.weight"] = (F, C)
        shapes[f"{block}.ffn.w_down.weight"] = (C, F)
    shapes["norm.weight"] = (C,)
    if not config.tied_embeddings:
        shapes["head.weight"] = (V, C)
    return shapes


def initial(config: ModelConfig, name: str, seed: int) -> Tensor:
    """The whole initial tensor of one parameter, fp32 on the CPU: a pure function of (config, name, seed)."""
    shape = param_shapes(config)[name]
    if len(shape) == 1:
        return torch.ones(shape)
    std = config.init_std
    if name.endswith(("attn.wo.weight", "ffn.w_down.weight")):
        std /= math.sqrt(2 * config.num_layers)
    generator = torch.Generator().manual_seed(seed_of("init", seed, name))
    return torch.empty(shape).normal_(0.0, std, generator=generator)


@torch.no_grad()
def init_(model: Transformer, seed: int) -> Transformer:
    """Overwrite every parameter of a whole model with its initial value; returns the model."""
    for name, parameter in model.named_parameters():
        parameter.copy_(initial(model.config, name, seed))
    return model
