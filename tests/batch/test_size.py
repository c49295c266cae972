"""Start and resume cost the same at any size: shown on a source of 100 billion tokens whose file is a hole."""

import tracemalloc

import numpy as np
import pytest

from fasttrain.batch.order import BatchConfig, Order
from fasttrain.batch.packing import build_index, write_index
from fasttrain.formats import atomic
from fasttrain.formats.shards import open_shard

TOKENS, DOCS = 100_000_000_000, 1_000_000


@pytest.fixture(scope="module")
def fake(tmp_path_factory):
    """A shard of 100 billion uint16 tokens (a sparse file of 200 GB that takes no room) in a million documents."""
    folder = tmp_path_factory.mktemp("fake")
    with (folder / "tokens.bin").open("wb") as file:
        file.truncate(2 * TOKENS)
    offsets = np.linspace(0, TOKENS, DOCS + 1).astype("<i8")
    offsets.tofile(folder / "offsets.bin")
    with (folder / "doc_ids.bin").open("wb") as file:
        file.truncate(16 * DOCS)
    info = {"format": 1, "source": "web", "dtype": "<u2", "num_tokens": TOKENS, "num_docs": DOCS, "num_bytes": 0}
    sha256 = {"tokens.bin": "t", "offsets.bin": "o", "doc_ids.bin": "d"}
    atomic.write_json(folder / "shard.json", {**info, "sha256": sha256})
    return folder


def test_start_and_resume_of_100_billion_tokens_touch_one_batch(fake):
    config = BatchConfig(seq_len=4096, global_batch=64, packing="concat")
    tracemalloc.start()
    order = Order({"web": open_shard(fake)}, {"web": 1.0}, config)
    order.batch(0)
    started = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    last = TOKENS // (64 * 4096) - 1
    batch = order.batch(last)
    resumed = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    one_batch = 64 * 4097 * 8
    assert started < 16 * one_batch, "what a batch needs, and nothing that grows with the data"
    assert resumed < 16 * one_batch
    assert batch.tokens.shape == (64, 4096)
    spans = order.documents(last)
    assert sum(span.length for span in spans) == 64 * 4097
    assert order.epochs(last)["web"] == pytest.approx(1.0, abs=1e-4)
    assert order.packing()["web"]["documents_cut"] == 1.0, "each holds 100,000 tokens"


@pytest.mark.parametrize("block_docs", [1, 3, 7, 1000])
def test_an_index_in_blocks_holds_every_token_once(tmp_path, block_docs):
    rng = np.random.default_rng(5)
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 30, 200))])
    write_index(tmp_path / "index.bin", offsets, 16, block_docs)
    flat = np.fromfile(tmp_path / "index.bin", "<i8")
    np.testing.assert_array_equal(flat, build_index(offsets, 16, block_docs))
    assert [p.name for p in tmp_path.iterdir()] == ["index.bin"]
    count, pieces = flat[:2]
    start, length = flat[3 + count : 3 + count + pieces], flat[3 + count + pieces :]
    held = np.concatenate([np.arange(a, a + n) for a, n in zip(start, length)])
    np.testing.assert_array_equal(np.sort(held), np.arange(offsets[-1]))
    sizes = np.add.reduceat(length, flat[2 : 2 + count])
    assert sizes.max() <= 17
    assert count - build_index(offsets, 16)[0] <= -(-200 // block_docs), "a window a block at most"


def test_an_empty_shard_has_an_empty_index(tmp_path):
    assert build_index(np.zeros(1, np.int64), 8).tolist() == [0, 0, 0]
    write_index(tmp_path / "index.bin", np.zeros(1, np.int64), 8)
    assert np.fromfile(tmp_path / "index.bin", "<i8").tolist() == [0, 0, 0]
