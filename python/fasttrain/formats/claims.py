"""Who makes which part: ranks claim them one by one, so that a rank with light parts takes more of them.

A claim is an empty file that only one rank can create (O_EXCL), in the folder that all ranks share for the parts
themselves. A counter in an MPI window would do on one host; between hosts it stands still while rank 0 computes,
because Open MPI makes progress only inside its own calls. Claims say nothing of what is finished (markers do), are void
when the phase begins anew, and go when it ends.

Pieces of a part (pieces.py) are put up in the same folder: `offer-<name>` holds what the piece is until it is accepted,
`left-<rank>` says that a rank has no part of its own any more.
"""

import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from fasttrain.comm.group import Group
from fasttrain.formats import atomic


class Claims:
    """The claims of one phase, for the time that its parts are made. Every rank enters it."""

    def __init__(self, folder: Path, world: Group) -> None:
        self._folder, self._world = folder / "claims", world

    def __enter__(self) -> "Claims":
        if self._world.size > 1:
            if self._world.is_root:
                shutil.rmtree(self._folder, ignore_errors=True)  # of a run that was killed
                self._folder.mkdir(parents=True)
            self._world.barrier()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._world.size > 1 and kind is None:
            self._world.barrier()
            if self._world.is_root:
                shutil.rmtree(self._folder)

    def take(self, part: int) -> bool:
        """Whether this rank is to make the part: True once for each part, on one rank."""
        return self._world.size == 1 or self._claim(str(part))

    def leave(self) -> None:
        """Say that this rank has no part of its own any more, and can help."""
        if self._world.size > 1:
            self._claim(f"left-{self._world.rank}")

    def helpers(self) -> int:
        """How many ranks have left."""
        return sum(name.startswith("left-") for name in os.listdir(self._folder)) if self._world.size > 1 else 0

    def all_left(self) -> bool:
        """Whether every rank has."""
        return self._world.size == 1 or self.helpers() == self._world.size

    def offer(self, name: str, piece: dict[str, Any]) -> None:
        """Put a piece (plain data) up for whoever accepts it first."""
        atomic.write_json(self._folder / f"offer-{name}", piece, durable=False)

    def offers(self) -> list[str]:
        """What is up and not accepted yet, in order of the names."""
        names = os.listdir(self._folder)
        return sorted(name.removeprefix("offer-") for name in names if name.startswith("offer-"))

    def is_open(self, name: str) -> bool:
        """Whether a piece that was put up is not accepted yet."""
        return (self._folder / f"offer-{name}").exists()

    def accept(self, name: str) -> dict[str, Any] | None:
        """The piece, for one rank; None for the others."""
        accepted = self._folder / f"accepted-{name}-{self._world.rank}"
        try:
            os.rename(self._folder / f"offer-{name}", accepted)  # one rank's succeeds
        except FileNotFoundError:
            return None
        piece: dict[str, Any] = atomic.read_json(accepted)
        accepted.unlink()
        return piece

    def _claim(self, name: str) -> bool:
        try:
            os.close(os.open(self._folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True
