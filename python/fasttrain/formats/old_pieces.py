"""The old-pieces map: of each id that a vocabulary gained, the old ids that its text had before.

Written by `tokenizer extend`, read by `train`: a new embedding row begins as the mean of its pieces' rows.
"""

from dataclasses import dataclass
from pathlib import Path

from fasttrain.core.errors import FormatError
from fasttrain.formats import atomic

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class OldPieces:
    """What one extension did to the ids. Ids below `old_vocab_size` that are not in `pieces` mean what they meant."""

    old_vocab_size: int
    new_vocab_size: int
    old_fingerprint: str
    """Of the tokenizer that was extended."""
    new_fingerprint: str
    """Of the tokenizer that came out."""
    pieces: dict[int, list[int]]
    """New id -> old ids. An id from `old_vocab_size` on that is missing is reserved: no text gives it."""

    def write(self, path: Path) -> None:
        """Write the map whole or not at all."""
        table = {str(i): ids for i, ids in sorted(self.pieces.items())}
        atomic.write_json(path, {"format": FORMAT, **vars(self), "pieces": table})


def read(path: Path) -> OldPieces:
    """Read a map. Raises FormatError when it is missing, damaged, or names ids that its vocabularies have not."""
    data = atomic.read_json(path)
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise FormatError(f"{path}: must be an old-pieces map of format {FORMAT}, as `tokenizer extend` writes it")
    try:
        found = OldPieces(
            old_vocab_size=int(data["old_vocab_size"]),
            new_vocab_size=int(data["new_vocab_size"]),
            old_fingerprint=str(data["old_fingerprint"]),
            new_fingerprint=str(data["new_fingerprint"]),
            pieces={int(i): [int(k) for k in ids] for i, ids in data["pieces"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"{path}: not an old-pieces map ({error!r}); run `tokenizer extend` again") from None
    for i, ids in found.pieces.items():
        if not 0 <= i < found.new_vocab_size or not ids or not all(0 <= k < found.old_vocab_size for k in ids):
            raise FormatError(
                f"{path}: pieces.{i}: must be an id below {found.new_vocab_size} with pieces below "
                f"{found.old_vocab_size}, got {ids}"
            )
    return found
