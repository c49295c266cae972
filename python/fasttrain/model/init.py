"""Initial weights: each tensor is drawn whole from a generator of (seed, its global name): every layout starts alike.

Scheme: N(0, init_std) for all matrices and embeddings, N(0, init_std / sqrt(2 L)) for the two that write to the
residual stream (wo, w_down), whose 2 L sums then have the variance of one; ones for norms, zeros for biases. With muP
the blocks' matrices are divided by the root of the width ratio as well (model/width.py).
Source: GPT-2 (Radford et al. 2019), 0.02 and the scaled residual projections (its positions had 0.01; Hugging Face and
nanoGPT draw them with 0.02 as well); OLMo 2 (arXiv:2501.00656) keeps N(0, 0.02) for everything.
"""

import math

import torch
from torch import Tensor

from fasttrain.core import pages
from fasttrain.model.config import ModelConfig
from fasttrain.model.transformer import Transformer
from fasttrain.model.width import std_scale
from fasttrain.nn.dropout import seed_of


def param_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Global name -> shape of each parameter, in the model's order, whatever the layout."""
    C, D, F, V = config.dim, config.D, config.F, config.vocab_size
    shapes: dict[str, tuple[int, ...]] = {"embed.weight": (V, C)}
    if config.positions == "learned":
        shapes["positions.weight"] = (config.max_seq_len, C)

    def norm(name: str) -> None:
        shapes[f"{name}.weight"] = (C,)
        if config.norm == "layer":
            shapes[f"{name}.bias"] = (C,)

    def matrix(name: str, rows: int, columns: int) -> None:
        shapes[f"{name}.weight"] = (rows, columns)
        if config.bias:
            shapes[f"{name}.bias"] = (rows,)

    for i in range(config.num_layers):
        block = f"blocks.{i}"
        norm(f"{block}.attn_norm")
        for which, heads in (("q", config.num_heads), ("k", config.Hkv), ("v", config.Hkv)):
            matrix(f"{block}.attn.w{which}", heads * D, C)
        matrix(f"{block}.attn.wo", C, config.num_heads * D)
        if config.qk_norm:
            shapes[f"{block}.attn.q_norm.weight"] = (D,)
            shapes[f"{block}.attn.k_norm.weight"] = (D,)
        norm(f"{block}.ffn_norm")
        if config.activation == "swiglu":
            matrix(f"{block}.ffn.w_gate", F, C)
        matrix(f"{block}.ffn.w_up", F, C)
        matrix(f"{block}.ffn.w_down", C, F)
    norm("norm")
    if not config.tied_embeddings:
        shapes["head.weight"] = (V, C)
    return shapes


def initial(config: ModelConfig, name: str, seed: int) -> Tensor:
    """The whole initial tensor of one parameter, fp32 on the CPU: a pure function of (config, name, seed)."""
    shape = param_shapes(config)[name]
    if len(shape) == 1:
        return torch.zeros(shape) if name.endswith(".bias") else torch.ones(shape)
    std = config.init_std * std_scale(config, name)
    if name.endswith(("attn.wo.weight", "ffn.w_down.weight")):
        std /= math.sqrt(2 * config.num_layers)
    generator = torch.Generator().manual_seed(seed_of("init", seed, name))
    return pages.empty(shape, torch.float32).normal_(0.0, std, generator=generator)


@torch.no_grad()
def init_(model: Transformer, seed: int) -> Transformer:
    """Overwrite every parameter of a whole model with its initial value; returns the model."""
    for name, parameter in model.named_parameters():
        parameter.copy_(initial(model.config, name, seed))
    return model
