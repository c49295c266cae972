"""Places of words in plain Python: the definition that every other implementation must equal."""

import numpy as np
import numpy.typing as npt

from fasttrain.text.columns import TextColumn
from fasttrain.text.shingle_ref import BREAK, DROP, IDEOGRAPH, fold


def places_of(data: bytes) -> list[tuple[int, int, int]]:
    """First byte, first byte after the first code point, first byte of the last code point of each word of one text."""
    found: list[tuple[int, int, int]] = []
    at, inside = 0, False
    for c in data.decode("utf-8", "surrogateescape"):
        is_utf8 = not 0xDC80 <= ord(c) <= 0xDCFF
        end = at + (len(c.encode()) if is_utf8 else 1)
        kind = fold(c)[0] if is_utf8 else BREAK
        if kind != DROP:
            if kind == IDEOGRAPH or (kind != BREAK and not inside):
                found.append((at, end, at))
            elif kind != BREAK:
                found[-1] = (*found[-1][:2], at)
            inside = kind not in (BREAK, IDEOGRAPH)
        at = end
    return found


def word_places(column: TextColumn, places: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]) -> None:
    offsets[0] = 0
    for n in range(len(column)):
        found = places_of(column[n])
        offsets[n + 1] = offsets[n] + len(found)
        places[offsets[n] : offsets[n + 1]] = np.array(found, np.int64).reshape(-1, 3) + column.offsets[n]
