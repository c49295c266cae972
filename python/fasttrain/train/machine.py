"""What a rank takes of its machine: device, precision, threads, deterministic kernels, and a signal to stop."""

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Literal

import torch

from fasttrain.comm.group import Group
from fasttrain.core import cuda
from fasttrain.core.errors import ConfigError
from fasttrain.core.precision import Precision, has_bf16

log = logging.getLogger("fasttrain.train")


def local_rank(world: Group) -> tuple[int, int]:
    """(rank, ranks) on this host."""
    hosts = world.allgather(socket.gethostname())
    here = [rank for rank, host in enumerate(hosts) if host == hosts[world.rank]]
    return here.index(world.rank), len(here)


def choose_device(name: Literal["auto", "cpu", "cuda"], rank_here: int) -> torch.device:
    """This rank's device; ranks of a host take its cards in turn. Raises ConfigError when there is no such."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device: must be 'auto' or 'cpu' here, got 'cuda'; torch sees no CUDA device")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", rank_here % torch.cuda.device_count())


def choose_precision(
    name: Literal["auto"] | Precision, device: torch.device, world: Group, *, started: Precision | None = None
) -> Precision:
    """The precision of a run, the same on every rank; every rank must call it.

    Args: started: of the run that is gone on with; what "auto" meant on the machine that started it stays.
    Raises: ConfigError: stochastic rounding on a card that the compiled kernels do not run on.
    """
    is_native = all(world.allgather(has_bf16(device)))
    chosen: Precision = name if name != "auto" else started or ("bf16" if is_native else "fp32")
    if chosen == "bf16_stochastic" and device.type != "cpu" and not cuda.is_built_for(device):
        raise ConfigError(
            f"train.precision: bf16_stochastic needs a build with CUDA on a card, and Ampere or newer, got {device}; "
            "use 'bf16'"
        )
    if chosen in ("bf16", "bf16_stochastic") and not is_native:
        why = "the run was started so" if name == "auto" else "use train.precision='auto' or 'fp32'"
        log.warning("bf16 is emulated on this machine, many times slower than fp32; %s", why)
    return chosen


def choose_threads(wanted: int, ranks_here: int) -> int:
    """Threads of this rank: as asked, else as the launcher set, else an equal share of the cores it may use."""
    text = os.environ.get("FASTTRAIN_THREADS") or os.environ.get("OMP_NUM_THREADS") or ""
    if wanted:
        return wanted
    if text.isdigit() and int(text):
        return int(text)
    return max(1, len(os.sched_getaffinity(0)) // ranks_here)


@contextmanager
def torch_settings(threads: int, *, deterministic: bool = True) -> Iterator[None]:
    """Kernels on `threads` threads, deterministic ones; what was set before comes back at the end."""
    before = torch.get_num_threads(), torch.get_deterministic_debug_mode()
    debugging: Any = torch.utils.deterministic  # its flag fills each new tensor with NaN, a pass over memory
    fill = debugging.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS repeats itself only with a fixed workspace
    torch.set_num_threads(threads)
    # use_deterministic_algorithms would tell torch.compile too, and load it for that: 75 MB and 1.5 s.
    torch.set_deterministic_debug_mode("error" if deterministic else "default")
    debugging.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.set_deterministic_debug_mode(before[1])
        debugging.fill_uninitialized_memory = fill


@contextmanager
def garbage_between_steps(every_steps: int = 100) -> Iterator[Callable[[int], None]]:
    """Keep Python's collector out of the steps of the block; call the result with each finished step's number.

    What is alive at the start is never looked at again, and cycles of the steps are collected every `every_steps`: a
    collection at a random moment of a step halts all ranks, 500 ms where much is alive (nanochat).
    """
    was_enabled = gc.isenabled()
    gc.freeze()  # without a collection first, which takes 0.4 s here: what is garbage by now is little
    gc.disable()

    def collect(step: int) -> None:
        if step % every_steps == 0:
            gc.collect()

    try:
        yield collect
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


class StopSignal:
    """Notes SIGTERM (what Slurm, Kubernetes and `kill` send) and Ctrl-C instead of dying of them.

    A second Ctrl-C ends the process at once.
    """

    def __init__(self) -> None:
        self.is_set = False
        self.is_interrupt = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.is_interrupt:
                raise KeyboardInterrupt
            self.is_interrupt = True
            # Not by the log: what a signal interrupts may be a message half written.
            os.write(2, b"\ntrain: this step is finished and saved, then it stops; Ctrl-C again stops at once\n")
        self.is_set = True

    @contextmanager
    def listening(self) -> Iterator["StopSignal"]:
        """Note signals within the block. Only the main thread of a process can; elsewhere nothing is noted.

        Ctrl-C is left to whoever has taken it already (a notebook, `nohup`).
        """
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        numbers = [signal.SIGTERM]
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            numbers.append(signal.SIGINT)
        before = [signal.signal(number, self._note) for number in numbers]
        try:
            yield self
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
