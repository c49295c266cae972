"""Workload: opening the order of a source of N tokens and making one batch of 64 x 4,096, at step 0 and at the last
step of its epoch; the tokens are a sparse file, documents of about 1,000 tokens. Best fit with its index in place, and
what making that index costs once. `FASTTRAIN_BENCH_TOKENS=100000000000` is the size that benchmarks/README.md tells of;
the default is small.

No rival: a loader that stores its order cannot be at N = 10^11 at all within a benchmark's time (bench_order.py
compares at a size that it can).
"""

import os
from pathlib import Path

import numpy as np
import pytest

from fasttrain.batch.order import BatchConfig, Order
from fasttrain.batch.packing import write_index
from fasttrain.formats import atomic
from fasttrain.formats.shards import open_shard

N = int(os.environ.get("FASTTRAIN_BENCH_TOKENS", 100_000_000))
T, B = 4096, 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("fake")
    num_docs = N // 1000
    lengths = np.random.default_rng(1).integers(1, 2000, num_docs, np.int64)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    offsets.astype("<i8").tofile(root / "offsets.bin")
    total = int(offsets[-1])
    for name, size in (("tokens.bin", 2 * total), ("doc_ids.bin", 16 * num_docs)):
        with (root / name).open("wb") as file:
            file.truncate(size)
    info = {"format": 1, "source": "web", "dtype": "<u2", "num_tokens": total, "num_docs": num_docs, "num_bytes": 0}
    names = ("tokens.bin", "offsets.bin", "doc_ids.bin")
    atomic.write_json(root / "shard.json", {**info, "sha256": {n: n for n in names}})
    return root


def start(root: Path, packing: str, step: int):
    config = BatchConfig(seq_len=T, global_batch=B, packing=packing)
    order = Order({"web": open_shard(root)}, {"web": 1.0}, config, cache=root / "order")
    return order, order.batch(step)


@pytest.mark.parametrize("where", ["start", "resume"])
@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def bench_start(benchmark, folder, packing, where):
    order, _ = start(folder, packing, 0)  # the index of best fit is made here
    step = 0 if where == "start" else order.num_sequences["web"] // B - 1
    _, batch = benchmark.pedantic(start, (folder, packing, step), rounds=20, warmup_rounds=2)
    assert batch.tokens.shape == (B, T)
    assert sum(span.length for span in order.documents(step)) <= B * (T + 1)
    benchmark.extra_info["tokens"] = N


def bench_index(benchmark, folder):
    offsets = open_shard(folder).offsets
    benchmark.pedantic(write_index, (folder / "index.bin", offsets, T), rounds=1)
