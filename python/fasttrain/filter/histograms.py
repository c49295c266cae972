"""What each rule compared, by source, small enough for a manifest: what thresholds are set by.

A part's histograms are {rule: {"limit", "mode", "counts": {source: bins}, "asked", "broken", "decided": {source: n}}}:
`asked` of how many documents, `broken` by how many, and `decided` for how many it was the rule that dropped them (or,
in tag mode, the first that tagged them). A rule without a limit (a list, a language) has no bins.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from fasttrain.filter.docket import Docket
from fasttrain.filter.rules import Limit

Histograms = dict[str, dict[str, Any]]
_NUMBERS = ("asked", "broken", "decided")


def count(docket: Docket, names: list[str], code: npt.NDArray[np.int64], into: Histograms) -> None:
    """Add a batch of N documents, whose families have been asked; document n is of source names[code[n]]."""
    offset = 0
    for verdict, mode, asked in docket.heard:
        R = len(verdict.reasons)
        rows = np.flatnonzero(asked)
        of, num_asked = code[rows], np.bincount(code[rows], minlength=len(names))
        fails = verdict.fails[rows]
        broken = np.array([fails[of == s].sum(axis=0) for s in range(len(names))])
        first = docket.first[rows] - offset
        mine = (first >= 0) & (first < R)
        decided = np.bincount(of[mine] * R + first[mine], minlength=len(names) * R).reshape(-1, R)
        for r, reason in enumerate(verdict.reasons):
            limit = verdict.limits[r] if verdict.limits else None
            if reason not in into:
                empty: dict[str, Any] = {"counts": {}} | {name: {} for name in _NUMBERS}
                into[reason] = {"limit": None if limit is None else asdict(limit), "mode": mode} | empty
            entry = into[reason]
            for key, values in zip(_NUMBERS, (num_asked, broken[:, r], decided[:, r])):
                _add_numbers(entry[key], {n: v for n, v, a in zip(names, values.tolist(), num_asked.tolist()) if a})
            if limit is not None:
                _add_bins(entry["counts"], _bins(limit, verdict.values[rows, r], of, names))
        offset += R


def _bins(
    limit: Limit, values: npt.NDArray[np.float64], of: npt.NDArray[np.int64], names: list[str]
) -> dict[str, list[int]]:
    edges = limit.edges()
    at = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 1)
    table = np.bincount(of * len(edges) + at, minlength=len(names) * len(edges)).reshape(len(names), -1)
    return {name: row.tolist() for name, row in zip(names, table) if row.any()}


def _add_numbers(into: dict[str, int], new: dict[str, int]) -> None:
    for name, value in new.items():
        into[name] = into.get(name, 0) + value


def _add_bins(into: dict[str, list[int]], new: dict[str, list[int]]) -> None:
    for name, row in new.items():
        into[name] = [a + b for a, b in zip(into[name], row)] if name in into else row


def merge(parts: list[Histograms]) -> Histograms:
    """Sum over parts, sources in order of their names, with the edges of the bins.

    Bin i is [edge i, edge i + 1); the last takes what is above.
    """
    total: Histograms = {}
    for part in parts:
        for rule, entry in part.items():
            to = total.setdefault(
                rule, {"limit": entry["limit"], "mode": entry["mode"], "counts": {}} | {n: {} for n in _NUMBERS}
            )
            _add_bins(to["counts"], entry["counts"])
            for key in _NUMBERS:
                _add_numbers(to[key], entry[key])
    for entry in total.values():
        limit = entry["limit"]
        entry["edges"] = [] if limit is None else Limit(**limit).edges().tolist()
        for key in ("counts", *_NUMBERS):
            entry[key] = dict(sorted(entry[key].items()))
    return total
