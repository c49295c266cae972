"""JSON of any depth: what `json.loads` gives up on is read all the same, and the same in every Python."""

import json
import re
from typing import Any

_DEPTH = 100  # what is read of a value at once; below the recursion limit of any Python
_MARKS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|["\[\]{}]', re.DOTALL)


def loads(text: str) -> Any:
    """The value. Where it is nested deeper than Python recurses, what lies below the first hundred levels is null.

    Raises: ValueError: it is no JSON, at whatever depth.
    """
    try:
        return json.loads(text)
    except RecursionError:
        return json.loads(_cut(text))


def _cut(text: str) -> str:
    """The text with null for every value at a depth that is a multiple of _DEPTH, each read on its own first."""
    open_pieces: list[list[str]] = [[]]  # of each value that is read on its own and has not ended
    depth = last = 0
    for mark in _MARKS.finditer(text):
        kind = mark[0]
        if kind == '"':
            raise ValueError("json: a string has no end")
        if kind in "[{":
            depth += 1
            if depth % _DEPTH == 0:
                open_pieces[-1].append(text[last : mark.start()])
                open_pieces.append([])
                last = mark.start()
        elif kind in "]}":
            if depth % _DEPTH == 0 and depth > 0:
                json.loads("".join([*open_pieces.pop(), text[last : mark.end()]]))
                open_pieces[-1].append("null")
                last = mark.end()
            depth -= 1
            if depth < 0:
                raise ValueError("json: more values end than begin")
    if depth:
        raise ValueError("json: a value has no end")
    return "".join([*open_pieces[0], text[last:]])
