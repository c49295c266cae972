"""How often the words of each source count, so that a source's share of the training is the share that was asked for.

A source of b bytes and share s of B bytes in all counts m = round(UNIT * s * B / b) times, worked out in exact rational
numbers: the same integers on every machine, and counts that are sums of integers depend on no order. A word that no
weight touches counts UNIT times, so `min_frequency` is multiplied by UNIT too.
"""

from collections.abc import Mapping
from fractions import Fraction

UNIT = 1 << 20
"""Times that one occurrence counts when nothing is weighted: shares are exact to about a millionth."""

Cell = tuple[str, str]
"""(source, language)."""


def multipliers(
    bytes_by_cell: Mapping[Cell, int],
    shares: Mapping[str, float] | None,
    languages: Mapping[str, float] | None = None,
) -> dict[Cell, int]:
    """Return how often each occurrence in a cell counts; 0: not at all.

    Args:
        bytes_by_cell: text of each source and language.
        shares: weight of each source, in any unit; one that is not named counts nothing. None: by its bytes.
        languages: how much more than others a language counts, 1 where it is not named. A source's share stays what it
            is: its languages divide it.
    Raises: ValueError: a weight below 0, or none above 0; a name that no text has.
    """
    _check("source", shares, {s for s, _ in bytes_by_cell})
    _check("language", languages, {lang for _, lang in bytes_by_cell})
    sizes: dict[str, int] = {}
    for (source, _), size in bytes_by_cell.items():
        sizes[source] = sizes.get(source, 0) + size
    wanted = {s: Fraction(n if shares is None else shares.get(s, 0)) for s, n in sizes.items() if n}
    total = sum(wanted.values())
    if not total:
        raise ValueError("bpe_train: at least one weight must be > 0 on a source with text")
    factor = {(s, lang): Fraction((languages or {}).get(lang, 1)) for s, lang in bytes_by_cell}
    weighted: dict[str, Fraction] = {}
    for cell, size in bytes_by_cell.items():
        weighted[cell[0]] = weighted.get(cell[0], Fraction(0)) + factor[cell] * size
    empty = sorted(s for s, w in wanted.items() if w and not weighted[s])
    if empty:
        raise ValueError(f"bpe_train: source {empty[0]!r} has a share, but all its languages have weight 0")
    everything = sum(sizes.values())
    return {
        cell: round(UNIT * wanted[cell[0]] / total * everything * factor[cell] / weighted[cell[0]])
        if wanted.get(cell[0])
        else 0
        for cell in bytes_by_cell
    }


def _check(what: str, weights: Mapping[str, float] | None, known: set[str]) -> None:
    for name, weight in (weights or {}).items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"bpe_train: weight of {what} {name!r} must be a number >= 0, got {weight}")
        if name not in known:
            raise ValueError(
                f"bpe_train: weights must name a {what} of the text ({', '.join(sorted(known))}), got {name!r}"
            )
