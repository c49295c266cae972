"""Workload: `tokenizer encode` of 8 MB of Python sources, 16,384 tokens, one thread: from files to shards on disk.

The same texts as a folder of .txt, as .jsonl, .jsonl.zst and .parquet. Rival: what most people write, the file's own
reader (open, json, zstandard, pyarrow), tokenizers' encode_batch_fast with its cache warm and NumPy to a flat file.
Tokens are compared first, of every kind of file.
"""

import io
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from fasttrain.cli import tokenizer_encode
from fasttrain.formats.shards import open_shard
from fasttrain.tokenizer import train_bpe

KINDS = ["txt", "jsonl", "jsonl.zst", "parquet"]


def write(kind, texts, folder):
    """Returns the path of the file (txt: the folder) that holds the texts."""
    path = folder / f"texts.{kind}"
    if kind == "txt":
        path.mkdir()
        for n, text in enumerate(texts):
            (path / f"{n:06}.txt").write_bytes(text.encode())
    elif kind == "parquet":
        pq.write_table(pa.table({"text": texts}), path)
    else:
        lines = "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts).encode()
        path.write_bytes(zstandard.compress(lines) if kind.endswith("zst") else lines)
    return path


def read(kind, path):
    """The texts, as most people read them."""
    if kind == "txt":
        return [p.read_bytes().decode() for p in sorted(path.iterdir())]
    if kind == "parquet":
        return pq.read_table(path, columns=["text"]).column("text").to_pylist()
    with path.open("rb") as file:
        lines = io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(file)) if kind.endswith("zst") else file
        return [json.loads(line)["text"] for line in lines]


@pytest.mark.rival("tokenizers")
@pytest.mark.parametrize("kind", KINDS)
def bench_gate_encode_files(gate, note, benchmark, documents, tmp_path, monkeypatch, kind):
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false")
    hugging_face = pytest.importorskip("tokenizers").Tokenizer
    train_bpe(documents(8_000_000, skip=1), vocab_size=16384, pattern="cl100k", threads=1).save(tmp_path)
    rival = hugging_face.from_file(str(tmp_path / "tokenizer.json"))
    # Without what each side takes in its own way: byte order marks, the name of a special token in a text.
    texts = [t.removeprefix("\ufeff") for t in documents(8_000_000) if t.strip() and "<|endoftext|>" not in t]
    path, out, flat = write(kind, texts, tmp_path), tmp_path / "shards", tmp_path / "tokens.bin"
    eot = rival.token_to_id("<|endoftext|>")

    def theirs():
        encodings = rival.encode_batch_fast(read(kind, path), add_special_tokens=False)
        np.concatenate([np.array([*e.ids, eot], np.uint16) for e in encodings]).tofile(flat)

    def ours():
        shutil.rmtree(out, ignore_errors=True)
        tokenizer_encode.encode(str(tmp_path), [f"s={path}"], out, special=None, threads=1)

    theirs()
    ours()
    shard = open_shard(out / "s")
    assert shard.num_docs == len(texts)
    assert np.array_equal(np.fromfile(flat, np.uint16), shard.tokens)
    gate(theirs, ours, 3.0, runs=3)
    if benchmark.enabled:
        note("MB_per_s", sum(len(t.encode()) for t in texts) / 1e6 / benchmark.stats["median"])
