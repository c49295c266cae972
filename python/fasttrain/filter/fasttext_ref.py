"""The definition of fastText's supervised prediction: the file's layout, the rows of a text, the three kinds of loss.

Floats are float32 and are summed in fastText's order; logarithms and exponentials are double where its are.
"""

import heapq
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

MAGIC, SUPERVISED = 793712314, 3
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
EOS, PREFIX = b"</s>", b"__label__"
_F = np.float32


@dataclass
class Model:
    """What a file holds, matrices as floats."""

    dim: int
    word_ngrams: int
    loss: int
    bucket: int
    minn: int
    maxn: int
    words: list[bytes] = field(default_factory=list)
    labels: list[bytes] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    """Of the labels, for the tree."""
    pruned: dict[int, int] | None = None
    """Bucket -> row behind the words; None: every bucket has its own."""
    rows: Any = None
    """(words + buckets, dim) float32."""
    output: Any = None
    """(labels, dim) float32, and `norms` (labels,) which a product is multiplied with last."""
    norms: Any = None
    index: dict[bytes, int] = field(default_factory=dict)
    tree: list[tuple[int, int]] = field(default_factory=list)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize("<" + form)
        if self.at + size > len(self.data):
            raise ValueError("the file ends too soon")
        self.at += size
        return struct.unpack_from("<" + form, self.data, self.at - size)

    def array(self, dtype: str, n: int) -> npt.NDArray[Any]:
        size = n * np.dtype(dtype).itemsize
        if n < 0 or self.at + size > len(self.data):
            raise ValueError("the file ends too soon")
        self.at += size
        return np.frombuffer(self.data, dtype, n, self.at - size)

    def word(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise ValueError("the file ends inside its dictionary")
        found, self.at = self.data[self.at : end], end + 1
        return found


def read(data: bytes) -> Model:
    """Parse a file. Raises: ValueError: it is no supervised model, or ends too soon."""
    r = _Reader(data)
    magic, version = r.take("ii")
    if magic != MAGIC or version not in (11, 12):
        raise ValueError("it is no fastText model of format 11 or 12")
    dim, _, _, _, _, ngrams, loss, kind, bucket, minn, maxn, _, _ = r.take("12id")
    if kind != SUPERVISED or not 1 <= loss <= 4:
        raise ValueError("it is not a supervised model")
    model = Model(dim, ngrams, loss, bucket, minn, 0 if version == 11 else maxn)
    size, num_words, _, _, prune = r.take("iiiqq")
    for i in range(size):
        word = r.word()
        count, _ = r.take("qb")
        (model.words if i < num_words else model.labels).append(word)
        if i >= num_words:
            model.counts.append(count)
    model.index = {word: i for i, word in enumerate([*model.words, *model.labels])}
    if prune >= 0:
        pairs = r.array("<i4", 2 * prune).reshape(-1, 2).tolist()
        model.pruned = dict(pairs)
    coded = bool(r.take("b")[0])
    model.rows, norms = _matrix(r, coded)
    if norms is not None:
        model.rows = model.rows * norms[:, None]
    model.output, model.norms = _matrix(r, bool(r.take("b")[0]) and coded)
    if loss == HIERARCHICAL:
        model.tree = _tree(model.counts)
    return model


def _matrix(r: _Reader, coded: bool) -> tuple[Any, Any]:
    normed = coded and bool(r.take("b")[0])
    m, n = r.take("qq")
    if not coded:
        return r.array("<f4", m * n).reshape(m, n), None
    codes = r.array("u1", r.take("i")[0])
    rows = _decoded(r, codes, m)
    if not normed:
        return rows, None
    return rows, _decoded(r, r.array("u1", m), m)[:, 0]


def _decoded(r: _Reader, codes: npt.NDArray[Any], m: int) -> npt.NDArray[Any]:
    dim, subs, step, _ = r.take("4i")
    centroids = r.array("<f4", dim * 256)
    parts = []
    for s in range(subs):
        width = min(step, dim - s * step)
        table = centroids[s * 256 * step :][: 256 * width].reshape(256, width)
        parts.append(table[codes.reshape(m, subs)[:, s]])
    return np.concatenate(parts, axis=1)


def _tree(counts: list[int]) -> list[tuple[int, int]]:
    """Huffman's tree as (left, right); leaves come first and have (-1, -1), the root is last."""
    n = len(counts)
    tree, count = [(-1, -1)] * n, list(counts)
    leaf, node = n - 1, n
    while len(tree) < 2 * n - 1:
        least = []
        for _ in range(2):
            if leaf >= 0 and (node >= len(count) or count[leaf] < count[node]):
                least.append(leaf)
                leaf -= 1
            else:
                least.append(node)
                node += 1
        tree.append((least[0], least[1]))
        count.append(count[least[0]] + count[least[1]])
    return tree


def fnv(text: bytes) -> int:
    """32-bit FNV-1a of signed bytes: those above 127 flip the upper bits too."""
    h = 2166136261
    for c in text:
        h = ((h ^ (c if c < 128 else c | 0xFFFFFF00)) * 16777619) & 0xFFFFFFFF
    return h


def ngrams(word: bytes, minn: int, maxn: int) -> list[bytes]:
    """Character n-grams of "<word>", by beginning and length; "<" and ">" alone are none."""
    starts = [i for i, c in enumerate(word) if c & 0xC0 != 0x80] + [len(word)]
    found = []
    for a in range(len(starts) - 1):
        for n in range(1, maxn + 1):
            if a + n >= len(starts):
                break
            if n >= minn and not (n == 1 and (starts[a] == 0 or starts[a + 1] == len(word))):
                found.append(word[starts[a] : starts[a + n]])
    return found


def rows_of(model: Model, text: bytes) -> list[int]:
    """Rows of the input matrix that a text has: words and their n-grams in order, then word n-grams."""
    found: list[int] = []
    hashes: list[int] = []

    def push(bucket: int) -> None:
        if model.pruned is None:
            found.append(len(model.words) + bucket)
        elif bucket in model.pruned:
            found.append(len(model.words) + model.pruned[bucket])

    tokens = text.translate(bytes.maketrans(b"\t\n\v\f\r\0", b"      ")).split(b" ")
    line = [t for t in tokens if t] + [EOS]
    for token in line[: line.index(EOS) + 1]:
        i = model.index.get(token, -1)
        if i >= len(model.words) or (i < 0 and token.startswith(PREFIX)):
            continue
        if i >= 0:
            found.append(i)
        if model.maxn > 0 and token != EOS:
            for gram in ngrams(b"<" + token + b">", model.minn, model.maxn):
                push(fnv(gram) % model.bucket)
        h = fnv(token)
        hashes.append(h if h < 2**31 else h - 2**32)
    for a in range(len(hashes)):
        h = hashes[a]
        for b in range(a + 1, min(a + model.word_ngrams, len(hashes))):
            h = (h * 116049371 + hashes[b]) % 2**64
            push(h % model.bucket)
    return found


def _log(x: Any) -> Any:
    return _F(math.log(float(x) + 1e-5))


def predict(model: Model, text: bytes, k: int) -> list[tuple[float, int]]:
    """The k likeliest labels as (probability, label)."""
    rows = rows_of(model, text)
    if not rows:
        return []
    hidden = np.zeros(model.dim, _F)
    for row in rows:
        hidden += model.rows[row]
    hidden *= _F(1.0 / len(rows))
    product = np.zeros(len(model.output), _F)
    for d in range(model.dim):
        product += model.output[:, d] * hidden[d]
    if model.norms is not None:
        product = product * model.norms
    heap: list[tuple[Any, int]] = []

    def offer(score: Any, label: int) -> None:
        if len(heap) < k:
            heapq.heappush(heap, (score, label))
        elif score >= heap[0][0]:
            heapq.heapreplace(heap, (score, label))

    if model.loss == HIERARCHICAL:
        stack = [(_F(0), len(model.tree) - 1)]
        while stack:
            score, node = stack.pop()
            if score < _log(0) or (len(heap) == k and score < heap[0][0]):
                continue
            left, right = model.tree[node]
            if left < 0:
                offer(score, node)
                continue
            f = _F(1) / (_F(1) + np.exp(-product[node - len(model.labels)]))
            stack += [(score + _log(f), right), (score + _log(_F(1.0 - float(f))), left)]
    else:
        if model.loss == SOFTMAX:
            e = np.exp((product - product.max()).astype(np.float64)).astype(_F)
            total = _F(0)
            for value in e:
                total += value
            probs = e / total
        else:
            probs = np.array([_sigmoid(p) for p in product], _F)
        for label, p in enumerate(probs):
            offer(_log(p), label)
    return [(float(np.exp(score)), label) for score, label in sorted(heap, key=lambda pair: -pair[0])]


def _sigmoid(x: Any) -> Any:
    """A table of 513 values between -8 and 8, as fastText has it."""
    if abs(x) > 8:
        return _F(x > 0)
    at = _F(int((x + _F(8)) * _F(512) / _F(8) / _F(2)) * 16) / _F(512) - _F(8)
    return _F(1.0 / (1.0 + float(np.exp(-at))))


def windows(text: bytes, min_chars: int, max_windows: int) -> list[int]:
    """Ends of the pieces of a text: see fasttext.windows."""

    def chars_in(part: bytes) -> int:
        return sum(c & 0xC0 != 0x80 for c in part)

    wanted = max(min_chars, -(-chars_in(text) // max_windows))
    ends: list[int] = []
    begin, at = 0, 0
    for line in _lines(text):
        at += len(line)
        if line.endswith(b"\n") and chars_in(text[begin:at]) >= wanted and len(ends) + 1 < max_windows:
            ends.append(at)
            begin = at
    if begin < len(text):
        if ends and chars_in(text[begin:]) < min_chars:
            ends.pop()
        ends.append(len(text))
    return ends


def _lines(text: bytes) -> list[bytes]:
    parts = text.split(b"\n")
    return [p + b"\n" for p in parts[:-1]] + [parts[-1]]
