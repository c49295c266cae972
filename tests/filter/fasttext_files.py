"""Small fastText files of every kind, written from their definition with weights drawn at random."""

import struct

import numpy as np

LOSSES = {"hierarchical": 1, "negative": 2, "softmax": 3, "one_vs_all": 4}
WORDS = ["</s>", "the", "of", "höhle", "日本", "a", "x1", "die", "und", "lo"]
LABELS = ["__label__a", "__label__b", "__label__ü", "__label__d", "__label__e"]


def model_bytes(
    seed, loss="softmax", *, dim=7, grams=2, minn=2, maxn=4, bucket=40, coded=False, norms=True, pruned=False,
    coded_output=False, version=12, words=WORDS, labels=LABELS, step=2,
):  # fmt: skip
    """The bytes of a file."""
    rng = np.random.default_rng(seed)
    settings = (dim, 5, 5, 1, 5, grams, LOSSES[loss], 3, bucket, minn, maxn, 100)
    out = [struct.pack("<ii12id", 793712314, version, *settings, 1e-4)]
    keep = rng.permutation(bucket)[: bucket // 2] if pruned else []
    sizes = (len(words) + len(labels), len(words), len(labels), 999, len(keep) if pruned else -1)
    out.append(struct.pack("<iiiqq", *sizes))
    for i, name in enumerate([*words, *labels]):
        out.append(name.encode() + b"\0" + struct.pack("<qb", 1000 - i, i >= len(words)))
    for row, b in enumerate(keep):
        out.append(struct.pack("<ii", b, row))
    rows = len(words) + (len(keep) if pruned else bucket)
    out += _matrix(rng, rows, dim, coded, norms, step)
    out += _matrix(rng, len(labels), dim, coded_output, norms, step)
    return b"".join(out)


def _matrix(rng, rows, dim, coded, norms, step):
    if not coded:
        values = rng.normal(0, 1, (rows, dim)).astype("<f4")
        return [b"\0", struct.pack("<qq", rows, dim), values.tobytes()]
    subs = -(-dim // step)
    out = [b"\1", bytes([norms]), struct.pack("<qqi", rows, dim, rows * subs)]
    out.append(rng.integers(0, 256, rows * subs, np.uint8).tobytes())
    out.append(struct.pack("<4i", dim, subs, step, dim - step * (subs - 1)))
    out.append(rng.normal(0, 1, dim * 256).astype("<f4").tobytes())
    if norms:
        out.append(rng.integers(0, 256, rows, np.uint8).tobytes())
        out.append(struct.pack("<4i", 1, 1, 1, 1) + rng.uniform(0.5, 2, 256).astype("<f4").tobytes())
    return out


def texts(seed, n=120):
    """Texts of known and unknown words, odd spaces, labels and ends of line."""
    rng = np.random.default_rng(seed)
    parts = [
        *WORDS,
        *LABELS,
        " ",
        " ",
        " ",
        "\t",
        "\r",
        "\v",
        "\f",
        "\0",
        "</s>",
        "__label__zz",
        "zebra",
        "ж",
        "\u3000",
    ]
    weights = np.array([0.02 if p == "</s>" else 1.0 for p in parts])
    found = ["", " ", "\0\t", "</s>", "one </s> two", "__label__a", "__label__none"]
    return found + ["".join(rng.choice(parts, rng.integers(0, 40), p=weights / weights.sum())) for _ in range(n)]
