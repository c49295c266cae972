"""Run by test_sigkill.py: forks a child for every moment of a save, which SIGKILLs itself there, and looks at the rest.

The child dies before the k-th operation that changes the disk, and (k = 0 of `bytes`) in the middle of writing a file.
"""

import os
import shutil
import signal
import sys
from pathlib import Path

import torch

from fasttrain.checkpoint import store
from fasttrain.checkpoint.config import CheckpointConfig
from fasttrain.checkpoint.save import Saver
from fasttrain.comm.group import SoloGroup

OPERATIONS = [
    (os, "replace"), (os, "fsync"), (os, "unlink"), (os, "mkdir"), (os, "rmdir"), (os, "rename"),
    (shutil, "rmtree"), (Path, "write_bytes"), (Path, "unlink"), (Path, "mkdir"),
]  # fmt: skip


def state(value):
    return {"a": torch.full((1000,), float(value)), "b": torch.arange(500.0) + value}


def die_before(operation):
    count = 0

    def dying(owner, name, real):
        def call(*args, **options):
            nonlocal count
            count += 1
            if count > operation:
                if name == "write_bytes":  # half of the file is there
                    real(args[0], args[1][: len(args[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **options)

        return call

    for owner, name in OPERATIONS:
        setattr(owner, name, dying(owner, name, getattr(owner, name)))


def save(folder, step, value, *, async_write):
    saver = Saver(folder, CheckpointConfig(keep=1, keep_best=False, async_write=async_write), SoloGroup())
    saver.save(step, state(value), {"value": value})
    saver.wait()


def check(root, *, async_write, again):
    old, new = 10, 10 if again else 20
    for operation in range(100):
        folder = root / f"{async_write}-{again}-{operation}"
        save(folder, old, 1, async_write=False)
        child = os.fork()
        if child == 0:
            die_before(operation)
            save(folder, new, 2, async_write=async_write)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        assert killed or os.waitstatus_to_exitcode(status) == 0, status
        # What the next start of the run does: clean up, and go on from the newest whole checkpoint.
        Saver(folder, CheckpointConfig(), SoloGroup(), prune=False)
        found = store.load(store.newest(folder))
        value = found.meta["value"]
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in state(value).items())
        assert value == 2 or killed
        assert not [p for p in folder.iterdir() if not p.name.startswith("step-")], "leftovers are gone"
        if not killed:
            return operation
    raise AssertionError("a save changes the disk less often")


if __name__ == "__main__":
    for async_write in (False, True):
        for again in (False, True):
            moments = check(Path(sys.argv[1]), async_write=async_write, again=again)
            print(f"async={async_write} again={again}: killed at {moments} moments", flush=True)
