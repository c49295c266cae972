"""SentencePiece's BPE in plain Python: the definition that every other implementation must equal id for id."""

from collections.abc import Mapping, Sequence


def encode(
    text: bytes,
    symbols: list[bytes],
    ids: Mapping[bytes, int],
    scores: list[float],
    unused: frozenset[int],
    frozen: frozenset[bytes],
) -> list[bytes]:
    """Pieces of one normalised text. `symbols`: its characters and user-defined symbols (`frozen`), in order.

    While two neighbours together are a piece, the one of the highest score, the leftmost of equals, becomes one symbol;
    a piece that is unused is taken apart again into the two that made it.
    """
    parts = list(symbols)
    made: dict[bytes, tuple[bytes, bytes]] = {}

    def mergeable(i: int) -> bytes | None:
        """The piece that parts i and i + 1 are together."""
        if i < 0 or i + 1 >= len(parts) or parts[i] in frozen or parts[i + 1] in frozen:
            return None
        pair = parts[i] + parts[i + 1]
        return pair if pair in ids else None

    def note(i: int) -> None:
        if (pair := mergeable(i)) is not None and ids[pair] in unused:
            made[pair] = (parts[i], parts[i + 1])

    for i in range(len(parts) - 1):
        note(i)
    while True:
        pairs = [(-scores[ids[pair]], i) for i in range(len(parts) - 1) if (pair := mergeable(i)) is not None]
        if not pairs:
            break
        _, i = min(pairs)  # the highest score, the leftmost of equals
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
        note(i - 1)
        note(i)

    def whole(part: bytes) -> list[bytes]:
        if ids.get(part, -1) in unused and part in made:
            left, right = made[part]
            return whole(left) + whole(right)
        return [part]

    return [piece for part in parts for piece in whole(part)]


def encode_listed(
    symbols: Sequence[bytes], ids: Mapping[bytes, int], merges: Sequence[tuple[int, int, int]]
) -> list[tuple[bytes, int]]:
    """(piece, id) of one normalised text by a list of merges (left, right, result); id -1 of a character that is none.

    While a listed pair stands in the text, the one that is listed first, the leftmost of equals, becomes one symbol; of
    a pair that is listed twice the last place counts.
    """
    rules = {(left, right): (rank, result) for rank, (left, right, result) in enumerate(merges)}
    parts = [(s, ids.get(s, -1)) for s in symbols]
    while True:
        found = [(*rules[pair], i) for i in range(len(parts) - 1) if (pair := (parts[i][1], parts[i + 1][1])) in rules]
        if not found:
            return parts
        _, result, i = min(found, key=lambda rule: (rule[0], rule[2]))
        parts[i : i + 2] = [(parts[i][0] + parts[i + 1][0], result)]
