"""fasttrain: LLM pretraining from a data lake to a base model, and its fast parts for other people's code.

Importing starts nothing: no MPI, no CUDA, no torch, no logging set-up. Each name below loads its room when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fasttrain.dedup.minhash import minhash as minhash
    from fasttrain.filter.text_stats import text_stats as text_stats
    from fasttrain.nn.attention import attention as attention
    from fasttrain.nn.attention_transformers import register_attention as register_attention
    from fasttrain.nn.linear_cross_entropy import linear_cross_entropy as linear_cross_entropy
    from fasttrain.optim.adamw import AdamW as AdamW
    from fasttrain.text.hash128 import hash128 as hash128
    from fasttrain.text.shingle import shingle as shingle
    from fasttrain.tokenizer.tokenizer import Tokenizer as Tokenizer
    from fasttrain.tokenizer.train_bpe import train_bpe as train_bpe

_ROOM = {
    "AdamW": "fasttrain.optim.adamw",
    "Tokenizer": "fasttrain.tokenizer.tokenizer",
    "attention": "fasttrain.nn.attention",
    "hash128": "fasttrain.text.hash128",
    "linear_cross_entropy": "fasttrain.nn.linear_cross_entropy",
    "minhash": "fasttrain.dedup.minhash",
    "register_attention": "fasttrain.nn.attention_transformers",
    "shingle": "fasttrain.text.shingle",
    "train_bpe": "fasttrain.tokenizer.train_bpe",
    "text_stats": "fasttrain.filter.text_stats",
}

__all__ = [
    "AdamW",
    "Tokenizer",
    "attention",
    "hash128",
    "linear_cross_entropy",
    "minhash",
    "register_attention",
    "shingle",
    "text_stats",
    "train_bpe",
]


def __getattr__(name: str) -> Any:
    if name not in _ROOM:
        raise AttributeError(f"module 'fasttrain' has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(importlib.import_module(_ROOM[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
