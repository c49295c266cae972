"""A tokenizer of bytes (256 is the end of text), a small model and shards for the tests of eval and export."""

import numpy as np
import torch

from fasttrain.formats import shards
from fasttrain.model.config import ModelConfig
from fasttrain.model.init import init_
from fasttrain.model.transformer import Transformer


class Bytes:
    vocab_size = 257
    eot_id = 256
    fingerprint = "bytes"

    def encode_batch(self, texts):
        parts = [np.frombuffer(t.encode(), np.uint8).astype(np.uint32) for t in texts]
        return np.concatenate([*parts, np.zeros(0, np.uint32)]), np.cumsum([0, *map(len, parts)]).astype(np.int64)

    def decode(self, ids):
        return bytes(i for i in ids if i < 256).decode(errors="replace")


def model(seed=0, **changes):
    settings = {"vocab_size": 257, "num_layers": 2, "dim": 32, "num_heads": 4, "num_kv_heads": 2, "max_seq_len": 48}
    # A wide start makes predictions that differ from uniform, so that what is compared is not the same for all tokens.
    config = ModelConfig(**{**settings, "init_std": 0.2, **changes})
    with torch.no_grad():
        return init_(Transformer(config), seed).eval()


def write(folder, texts_by_source):
    """Shards of texts, as the tokenizer's stage writes them; returns them opened."""
    for number, (source, texts) in enumerate(texts_by_source.items()):
        raw = [t.encode() for t in texts]
        ids = [np.append(np.frombuffer(t, np.uint8).astype(np.uint16), np.uint16(256)) for t in raw]
        keys = np.zeros((len(raw), 16), np.uint8)
        keys[:, 0], keys[:, 1] = number, np.arange(len(raw))
        offsets = np.cumsum([0, *map(len, ids)]).astype(np.int64)
        flat = np.concatenate([*ids, np.zeros(0, np.uint16)])
        shards.write_shard(folder / source, source=source, vocab_size=257, tokenizer_fingerprint="bytes",
                           pieces=[(flat, offsets, keys, sum(map(len, raw)))])  # fmt: skip
    return shards.open_shards(folder)


TEXTS = {
    "books": ["Call me Ishmael. " * 9, "Some years ago, never mind how long precisely. " * 3, "x", ""],
    "code": ["def f(x):\n    return x + 1\n" * 5, "for i in range(10):\n    print(i)\n" * 4],
}
