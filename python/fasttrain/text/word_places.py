"""Where the words of texts lie, in bytes: what tells how many words a piece of text holds."""

import numpy as np
import numpy.typing as npt

from fasttrain.core import backend, check
from fasttrain.text import word_places_ref
from fasttrain.text.columns import TextColumn

Ints = npt.NDArray[np.int64]


def word_places(column: TextColumn, *, impl: str | None = None) -> tuple[Ints, Ints]:
    """Return for each word its first byte, the first byte after its first code point, the first byte of its last one.

    Words are those of text.shingle: letters and digits between separators; an ideograph is a word.

    Shapes: N texts, W words in all.
    Args:
        column: N texts, UTF-8; malformed bytes separate words.
        impl: an implementation's name; the fastest that runs here when None.
    Returns: places (W, 3) int64 in `column.data`, ascending, and offsets (N+1,) int64: text n has words
        [offsets[n], offsets[n + 1]).
    Raises: TypeError: another dtype. ValueError: a wrong shape, offsets that fall or leave the data, or an impl.
    Cost: one pass; 24 bytes a word, in room for one of two bytes.
    """
    op = "word_places"
    check.array(op, "data", column.data, np.uint8, (None,))
    check.offsets(op, "offsets", column.offsets, len(column.data))
    places = np.empty((int(((np.diff(column.offsets) + 1) // 2).sum()), 3), np.int64)
    offsets = np.empty(len(column) + 1, np.int64)
    impl = backend.choose(op, impl)
    if impl == "reference":
        word_places_ref.word_places(column, places, offsets)
    else:
        backend.native(op)(column.data, column.offsets, places, offsets, impl)
    return places[: offsets[-1]].copy(), offsets
