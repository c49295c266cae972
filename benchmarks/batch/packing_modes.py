"""concat and best fit on real token shards: python packing_modes.py RUN_FOLDER/prepare/shards/train SEQ_LEN..."""

import sys
from pathlib import Path

from fasttrain.batch.order import BatchConfig, Order
from fasttrain.formats.shards import open_shards


def main(folder: str, seq_lens: list[int]) -> None:
    """Print a line for each length and mode."""
    shards = open_shards(Path(folder))
    tokens, docs = (sum(getattr(s, name) for s in shards.values()) for name in ("num_tokens", "num_docs"))
    print(f"{tokens:,} tokens, {docs:,} documents")
    for seq_len in seq_lens:
        for packing in ("concat", "best_fit"):
            config = BatchConfig(seq_len=seq_len, global_batch=8, packing=packing)
            found = Order(shards, dict.fromkeys(shards, 1.0), config).packing()
            sequences = sum(r["sequences"] for r in found.values())
            padding = sum(r["padding"] * r["sequences"] for r in found.values()) / sequences
            cut = sum(r["documents_cut"] * shards[s].num_docs for s, r in found.items()) / docs
            off = sum(r["tokens_cut_off"] * shards[s].num_tokens for s, r in found.items()) / tokens
            print(
                f"T {seq_len:>5} {packing:<8}: padding {padding:.3%}, documents cut {cut:.1%}, tokens cut off {off:.1%}"
            )


if __name__ == "__main__":
    main(sys.argv[1], [int(n) for n in sys.argv[2:]])
