"""One step of a tokenizer.json's normaliser, on many texts: a normal form, or what each character becomes alone."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text import columns
from fasttrain.text.columns import TextColumn
from fasttrain.tokenizer import normalize_ref

STEPS = {
    "NFC": 0, "NFD": 1, "NFKC": 2, "NFKD": 3, "Lowercase": 4, "StripAccents": 5, "Nmt": 6, "clean_text": 7,
    "handle_chinese_chars": 8, "strip_accents": 9,
}  # fmt: skip
"""Name -> its number in csrc/tokenizer/normalize.h; the last three are parts of BertNormalizer."""

BYTES = "surrogateescape"
"""How bytes that are no UTF-8 pass through Python's strings."""

Source = npt.NDArray[np.int64]
_NONE: Source = np.empty(0, np.int64)


def normalize(column: TextColumn, *, step: str, threads: int | None = None, impl: str | None = None) -> TextColumn:
    """Return the texts after one step; the column itself when it changes none.

    Shapes: N texts of S bytes.
    Args:
        column: N texts, UTF-8; a byte that starts no valid sequence goes over.
        step: a name of STEPS.
        threads: at most so many; backend.num_threads() when None.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: N texts.
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, step or impl.
    Cost: linear, also in runs of marks. Two passes of 32 bytes at a time over what no step changes. Room for the
        most that the step can make (3 times the text, NFKC and NFKD 11 times) is asked for, and touched where written.
    Source: Unicode Standard Annex 15; Hugging Face tokenizers 0.23, whose forms are of Unicode 9.0.
    """
    return _normalize(column, step, False, threads, impl)[0]


def normalize_aligned(
    column: TextColumn, *, step: str, threads: int | None = None, impl: str | None = None
) -> tuple[TextColumn, Source]:
    """The same, and (S',) int64: for each byte returned the first byte of the character of its text that it is from.

    That is counted as in tokenizers, where what is composed is from its first character; -1: from none.
    """
    return _normalize(column, step, True, threads, impl)


def _normalize(
    column: TextColumn, step: str, is_aligned: bool, threads: int | None, impl: str | None
) -> tuple[TextColumn, Source]:
    op = "normalize"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    if step not in STEPS:
        raise ValueError(f"{op}: step must be one of {', '.join(STEPS)}, got {step!r}")
    impl = backend.choose(op, impl)
    if impl == "reference":
        return _reference(column, step, is_aligned)
    room = column.num_bytes * int(backend.native("normalize_growth")(STEPS[step]))
    out = np.empty(room, np.uint8)
    source = np.empty(room, np.int64) if is_aligned else None
    ends: npt.NDArray[np.int64] = np.zeros(len(column) + 1, np.int64)
    native = backend.native(op)
    native(column.data, column.offsets, out, source, ends, STEPS[step], threads or backend.num_threads(), impl)
    if ends[-1] < 0:
        return column, _NONE
    out.resize(int(ends[-1]), refcheck=False)
    if source is None:
        return TextColumn(out, ends), _NONE
    source.resize(int(ends[-1]), refcheck=False)
    return TextColumn(out, ends), source


def _reference(column: TextColumn, step: str, is_aligned: bool) -> tuple[TextColumn, Source]:
    texts = [column[n].decode("utf-8", BYTES) for n in range(len(column))]
    found = [normalize_ref.normalize(step, text) for text in texts]
    if not is_aligned and [made for made, _ in found] == texts:
        return column, _NONE
    made = columns.from_texts([text.encode("utf-8", BYTES) for text, _ in found])
    source: list[int] = []
    for text, (after, from_) in zip(texts, found):
        starts = np.concatenate([[0], np.cumsum([_size(c) for c in text])])
        source += [-1 if k < 0 else int(starts[k]) for c, k in zip(after, from_) for _ in range(_size(c))]
    return made, np.array(source, np.int64)


def _size(char: str) -> int:
    return len(char.encode("utf-8", BYTES))
