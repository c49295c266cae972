"""Training of supervised fastText models: the file that comes out is a genuine .bin.

The same texts, settings and seed give the same bytes: one thread does the steps (fastText's own threads race), the
order of the texts is drawn anew for each epoch from the seed. What differs from fastText's trainer: that order, and
random numbers; rates, gradients, hashing and the dictionary are the same.
"""

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fasttrain.core import backend, check
from fasttrain.core.config import Settings
from fasttrain.filter import fasttext_ref, fasttext_train_ref
from fasttrain.formats import atomic
from fasttrain.text.columns import TextColumn

_OP = "fasttext_train"
_SPACES = bytes.maketrans(b"\t\n\v\f\r\0", b"      ")
_CHUNK = 4096


class TrainConfig(Settings):
    """How a classifier is trained; the defaults are DCLM's width and fastText's rate."""

    dim: int = Field(default=100, ge=1, le=4096)
    """Width of the vectors."""
    epochs: int = Field(default=5, ge=1)
    """Times that each text is read."""
    rate: float = Field(default=0.1, gt=0, allow_inf_nan=False)
    """Learning rate of the first step; it falls to 0 linearly with the words read."""
    word_ngrams: int = Field(default=2, ge=1, le=256)
    """Words in a row that are features of their own."""
    minn: int = Field(default=0, ge=0, le=256)
    """Characters of the shortest n-grams."""
    maxn: int = Field(default=0, ge=0, le=256)
    """Characters of the longest n-grams; 0: none."""
    bucket: int = Field(default=2_000_000, ge=1, le=2**30)
    """Rows that all n-grams share."""
    min_count: int = Field(default=1, ge=1)
    """Words that occur less often have no row of their own."""
    seed: int = Field(default=0, ge=0)
    """Of the first vectors and the order of the texts."""


def train(
    texts: TextColumn,
    labels: npt.NDArray[np.int32],
    names: Sequence[str],
    config: TrainConfig,
    out: Path,
    *,
    progress: Callable[[int, int, float], None] = lambda epoch, done, loss: None,
    threads: int | None = None,
    impl: str | None = None,
) -> float:
    """Train on N texts and write the model to `out`, replaced at once when it is whole.

    Args:
        labels: (N,) int32 indices into `names`.
        names: the labels as the file has them, "__label__hq".
        progress: told after every few thousand texts: epoch, texts of it done, mean loss of them.
        threads: for the cutting into n-grams alone.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: mean loss of the last epoch.
    Raises: TypeError, ValueError: wrong arrays, a label without texts, or no texts.
    Cost: 4 bytes for each feature of each text, 4 D (words + buckets) bytes twice while the file is written.
    """
    check.array(_OP, "data", texts.data, np.uint8, (None,))
    check.offsets(_OP, "offsets", texts.offsets, len(texts.data))
    check.array(_OP, "labels", labels, np.int32, (len(texts),))
    counts = np.bincount(labels, minlength=len(names)) if len(labels) and labels.min() >= 0 else np.zeros(0, np.int64)
    if len(names) < 2 or len(counts) != len(names) or not counts.all():
        raise ValueError(f"{_OP}: each of at least two labels must have texts, got {counts.tolist()} for {list(names)}")
    impl = backend.choose(_OP, impl)
    words = _words(texts, config.min_count)
    grams = config.word_ngrams > 1 or config.maxn > 0
    bucket = config.bucket if grams else 0
    by_count = np.argsort(-counts, kind="stable")
    place = np.empty(len(names), np.int32)
    place[by_count] = np.arange(len(names), dtype=np.int32)
    entries = [*words, *((names[i].encode(), int(counts[i])) for i in by_count.tolist())]
    rows, offsets = _rows(texts, entries, len(names), bucket, config, threads or backend.num_threads())

    rng = np.random.default_rng(config.seed)
    inp = rng.random((len(words) + bucket, config.dim), np.float32)
    inp -= np.float32(0.5)
    inp *= np.float32(2 / config.dim)
    output = np.zeros((len(names), config.dim), np.float32)
    read, total, mean = 0, config.epochs * max(int(offsets[-1]), 1), 0.0
    for epoch in range(config.epochs):
        order = rng.permutation(len(texts))
        sizes = np.diff(offsets)[order]
        rates = (config.rate * (1 - (read + np.cumsum(sizes) - sizes) / total)).astype(np.float32)
        read += int(sizes.sum())
        loss = 0.0
        for at in range(0, len(order), _CHUNK):
            part = slice(at, at + _CHUNK)
            loss += steps(inp, output, rows, offsets, place[labels], order[part], rates[part], impl)
            progress(epoch, min(at + _CHUNK, len(order)), loss / min(at + _CHUNK, len(order)))
        mean = loss / len(order)
    head = _head(entries, len(names), bucket, config, config.dim)
    with atomic.replacing(out) as temporary, temporary.open("wb") as file:
        file.write(head + b"\0" + struct.pack("<qq", *inp.shape))
        inp.tofile(file)
        file.write(b"\0" + struct.pack("<qq", *output.shape))
        output.tofile(file)
    return mean


def steps(
    inp: Any, output: Any, rows: Any, offsets: Any, labels: Any, order: Any, rates: Any, impl: str | None = None
) -> float:
    """Change `inp` (V, D) and `output` (L, D) by one step for each text of `order`; the sum of their losses.

    Args:
        rows, offsets: (R,) int32 and (N+1,) int64; text n has the rows rows[offsets[n]:offsets[n+1]] of `inp`.
        labels: (N,) int32. order: (M,) int64 texts. rates: (M,) float32.
    Raises: TypeError: another dtype. ValueError: wrong shapes, or an index out of range.
    """
    check.array(_OP, "inp", inp, np.float32, (None, None))
    check.array(_OP, "output", output, np.float32, (None, inp.shape[1]))
    check.array(_OP, "rows", rows, np.int32, (None,))
    check.offsets(_OP, "offsets", offsets, len(rows))
    check.array(_OP, "labels", labels, np.int32, (len(offsets) - 1,))
    check.array(_OP, "order", order, np.int64, (None,))
    check.array(_OP, "rates", rates, np.float32, (len(order),))
    for name, values, end in (("rows", rows, len(inp)), ("labels", labels, len(output)), ("order", order, len(labels))):
        if len(values) and not (values.min() >= 0 and values.max() < end):
            raise ValueError(f"{_OP}: {name} must be in [0, {end}), got {values.min()} to {values.max()}")
    impl = backend.choose(_OP, impl)
    if impl == "reference":
        return fasttext_train_ref.steps(inp, output, rows, offsets, labels, order, rates)
    scratch = np.empty(2 * inp.shape[1] + len(output), np.float32)
    loss: float = backend.native("fasttext_train_steps")(
        inp, output, rows, offsets, labels, order, rates, scratch, impl
    )
    return loss


def _words(texts: TextColumn, min_count: int) -> list[tuple[bytes, int]]:
    """The dictionary's words and their counts, frequent ones first; "</s>" ends every text."""
    found: Counter[bytes] = Counter()
    for i in range(len(texts)):
        found.update(t for t in texts[i].translate(_SPACES).split(b" ") if t)
        found[fasttext_ref.EOS] += 1
    kept = [(w, n) for w, n in found.items() if n >= min_count and not w.startswith(fasttext_ref.PREFIX)]
    return sorted(kept, key=lambda pair: (-pair[1], pair[0]))


def _head(entries: list[tuple[bytes, int]], num_labels: int, bucket: int, config: TrainConfig, dim: int) -> bytes:
    """The file up to its matrices."""
    settings = (dim, 5, config.epochs, config.min_count, 5, config.word_ngrams, fasttext_ref.SOFTMAX,
                fasttext_ref.SUPERVISED, bucket, config.minn, config.maxn, 100)  # fmt: skip
    num_words = len(entries) - num_labels
    parts = [struct.pack("<ii12id", fasttext_ref.MAGIC, 12, *settings, 1e-4)]
    parts.append(struct.pack("<iiiqq", len(entries), num_words, num_labels, sum(n for _, n in entries), -1))
    parts += [w + b"\0" + struct.pack("<qb", n, i >= num_words) for i, (w, n) in enumerate(entries)]
    return b"".join(parts)


def _rows(
    texts: TextColumn, entries: list[tuple[bytes, int]], num_labels: int, bucket: int, config: TrainConfig, threads: int
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Rows of every text, by a model of width 1 that has the dictionary."""
    num_rows = len(entries) - num_labels + bucket
    blank = [b"\0", struct.pack("<qq", num_rows, 1), bytes(4 * num_rows)]
    blank += [b"\0", struct.pack("<qq", num_labels, 1), bytes(4 * num_labels)]
    data = b"".join([_head(entries, num_labels, bucket, config, 1), *blank])
    n = len(texts)
    offsets = np.zeros(n + 1, np.int64)
    if not backend.is_native():
        model = fasttext_ref.read(data)
        found = [fasttext_ref.rows_of(model, texts[i]) for i in range(n)]
        np.cumsum([len(f) for f in found], out=offsets[1:])
        return np.array([r for f in found for r in f], np.int32), offsets
    native, impl = backend.native("fasttext_rows"), backend.choose("fasttext", None)
    handle = backend.native("FasttextModel")(np.frombuffer(data, np.uint8))
    counts = np.zeros(n, np.int64)
    native(handle, texts.data, texts.offsets, np.empty(0, np.int32), offsets[:-1].copy(), counts, threads, impl)
    np.cumsum(counts, out=offsets[1:])
    rows = np.empty(offsets[-1], np.int32)
    if len(rows):
        native(handle, texts.data, texts.offsets, rows, offsets[:-1].copy(), counts, threads, impl)
    return rows, offsets
