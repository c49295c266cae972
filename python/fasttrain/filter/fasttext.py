"""Supervised fastText models (.bin, .ftz) asked by the column, natively: languages, quality, safety."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.core.errors import FormatError
from fasttrain.filter import fasttext_ref
from fasttrain.text.columns import TextColumn

_OP = "fasttext"
_ALL_CHARS = 2**62


@dataclass(frozen=True)
class FasttextModel:
    """A model in memory; made by `load`."""

    labels: tuple[str, ...]
    """(L,) Its labels as the file has them, "__label__en"; bytes that are no UTF-8 are escaped."""
    impl: str
    """The implementation that asks it."""
    handle: Any
    """The native model, or the reference's."""


def load(path: Path, *, impl: str | None = None) -> FasttextModel:
    """Load a supervised model of fastText, format 11 or 12, quantised or not.

    Args:
        path: the file; read once, unmapped afterwards.
        impl: an implementation's name; the fastest that runs here when None.
    Raises: FormatError: no such model, or a damaged one. OSError: it cannot be read. ValueError: an unknown impl.
    Cost: the file's floats once more in memory; quantised matrices up to 256 MB as floats.
    """
    if not path.stat().st_size:
        raise FormatError(f"fasttext: {path} is empty; give a model file")
    try:
        return of_bytes(np.memmap(path, np.uint8, "r"), impl=impl)
    except ValueError as error:
        raise FormatError(f"fasttext: {path} must be a supervised fastText model, but {error}") from None


def of_bytes(data: npt.NDArray[np.uint8], *, impl: str | None = None) -> FasttextModel:
    """A model from the bytes of its file. Raises: TypeError, ValueError: what is wrong with them; an unknown impl."""
    check.array(_OP, "data", data, np.uint8, (None,))
    impl = backend.choose(_OP, impl)
    handle: Any = fasttext_ref.read(data.tobytes()) if impl == "reference" else backend.native("FasttextModel")(data)
    return FasttextModel(tuple(label.decode("utf-8", "backslashreplace") for label in handle.labels), impl, handle)


def predict(
    model: FasttextModel, texts: TextColumn, k: int = 1, *, max_chars: int | None = None, threads: int | None = None
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
    """The k likeliest labels of each text and their probabilities, as fastText's own `predict` gives them.

    Shapes: N texts, K = min(k, number of labels).
    Args:
        texts: N texts. A line break counts as a space; fastText's predict refuses it.
        max_chars: code points of each text that are read; all of them when None.
        threads: at most so many; backend.num_threads() when None.
    Returns: (N, K) int32 indices into model.labels, -1 where there are fewer (hierarchical softmax does not follow
        branches below 1e-5, and a model without "</s>" has nothing to say about an empty text), and (N, K) float32.
        Probabilities are e^log(p + 1e-5), as fastText's are: they may exceed 1 by that much.
    Raises: TypeError: another dtype. ValueError: wrong offsets, k or max_chars.
    Cost: one hash and one bit for each n-gram, D additions for each that has a row.
    Source: Joulin et al. 2016.
    """
    check.array(_OP, "data", texts.data, np.uint8, (None,))
    check.offsets(_OP, "offsets", texts.offsets, len(texts.data))
    if k < 1 or (max_chars is not None and max_chars < 1):
        raise ValueError(f"fasttext: k and max_chars must be at least 1, got {k} and {max_chars}")
    n, k = len(texts), min(k, len(model.labels))
    labels, probs = np.full((n, k), -1, np.int32), np.zeros((n, k), np.float32)
    if model.impl == "reference":
        for i in range(n):
            for j, (prob, label) in enumerate(fasttext_ref.predict(model.handle, _head(texts[i], max_chars), k)):
                labels[i, j], probs[i, j] = label, prob
    else:
        backend.native("fasttext_predict")(
            model.handle, texts.data, texts.offsets, labels, probs, max_chars or _ALL_CHARS,
            threads or backend.num_threads(), model.impl,
        )  # fmt: skip
    return labels, probs


def probability(
    model: FasttextModel, texts: TextColumn, label: str, *, threads: int | None = None
) -> npt.NDArray[np.float64]:
    """(N,) The probability of one label for each text, at most 1; 0 where the model does not name it.

    Raises: ValueError: the model has no such label.
    """
    if label not in model.labels:
        raise ValueError(f"fasttext: the model has no label {label!r}; it has {', '.join(model.labels[:8])}")
    labels, probs = predict(model, texts, len(model.labels), threads=threads)
    here = labels == model.labels.index(label)
    found: npt.NDArray[np.float64] = np.where(here, probs, 0).sum(axis=1, dtype=np.float64)
    return np.minimum(found, 1.0)


def windows(
    texts: TextColumn, min_chars: int, max_windows: int, *, threads: int | None = None, impl: str | None = None
) -> tuple[TextColumn, npt.NDArray[np.int64]]:
    """Cut each text behind lines into at most `max_windows` pieces of at least `min_chars` characters that tile it.

    A piece ends with the line that gives it max(min_chars, the text's characters / max_windows); a rest that is too
    short belongs to the piece before it. A text without line breaks is one piece.

    Returns: the pieces, which share the texts' memory, and (P,) the text of each.
    Raises: TypeError: another dtype. ValueError: wrong offsets, a number below 1, or an impl.
    """
    check.array(_OP, "data", texts.data, np.uint8, (None,))
    check.offsets(_OP, "offsets", texts.offsets, len(texts.data))
    if min_chars < 1 or max_windows < 1:
        raise ValueError(f"fasttext: min_chars and max_windows must be at least 1, got {min_chars} and {max_windows}")
    impl = backend.choose(_OP, impl)
    n = len(texts)
    ends, counts = np.zeros((n, max_windows), np.int64), np.zeros(n, np.int64)
    if impl == "reference":
        for i in range(n):
            found = fasttext_ref.windows(texts[i], min_chars, max_windows)
            counts[i] = len(found)
            ends[i, : len(found)] = np.array(found, np.int64) + texts.offsets[i]
    else:
        backend.native("fasttext_windows")(
            texts.data, texts.offsets, ends, counts, min_chars, threads or backend.num_threads(), impl
        )
    flat = ends[np.arange(max_windows) < counts[:, None]]
    return TextColumn(texts.data, np.concatenate([texts.offsets[:1], flat])), np.repeat(np.arange(n), counts)


def _head(text: bytes, max_chars: int | None) -> bytes:
    starts = np.flatnonzero((np.frombuffer(text, np.uint8) & 0xC0) != 0x80)
    return text if max_chars is None or len(starts) <= max_chars else text[: starts[max_chars]]
