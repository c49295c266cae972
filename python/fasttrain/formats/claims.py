"""Who makes which part: ranks claim them one by one, so that a rank with light parts takes more of them.

A claim is an empty file that only one rank can create (O_EXCL), in the folder that all ranks share for the parts
themselves. A counter in an MPI window would do on one host; between hosts it stands still while rank 0 computes,
because Open MPI makes progress only inside its own calls. Claims say nothing of what is finished (markers do), are void
when the phase begins anew, and go when it ends.
"""

import os
import shutil
from pathlib import Path
from types import TracebackType

from fasttrain.comm.group import Group


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
        if self._world.size == 1:
            return True
        try:
            os.close(os.open(self._folder / str(part), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return False
        return True
