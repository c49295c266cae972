"""What a run tells of itself: metrics.jsonl with its events and steps, written by rank 0; rates on every rank."""

from typing import Any

import torch

from fasttrain.comm.group import Group
from fasttrain.comm.mesh import Mesh
from fasttrain.core.precision import DTYPES, Precision
from fasttrain.model.cost import FLOPS_FORMULA, flops_per_token, num_params
from fasttrain.monitor.metrics import MetricsLog, read_lines
from fasttrain.monitor.throughput import MFU_FORMULA, Throughput, peak_flops
from fasttrain.train.setup import Setup
from fasttrain.train.state import State


class Journal:
    """The metrics file of one run and the clock of its steps."""

    def __init__(self, setup: Setup, mesh: Mesh, device: torch.device, precision: Precision) -> None:
        """Measure or look up the device's peak; every rank must call it."""
        self.setup, self.folder, self._mesh = setup, setup.folder, mesh
        world: Group = setup.world
        mine = peak_flops(device, DTYPES[precision], setup.train.peak_flops) if world.is_root else None
        peak = world.bcast(mine)
        flops = flops_per_token(setup.model, setup.batch.seq_len)
        self.throughput = Throughput(flops_per_token=flops, peak=peak, num_ranks=world.size)
        self._log: MetricsLog | None = None
        self._about = {
            "layout": {"dp": mesh.dp.size, "tp": mesh.tp.size, "pp": mesh.pp.size},
            "device": device.type,
            "precision": precision,
            "threads": torch.get_num_threads(),
            "peak_flops": peak.flops,
            "peak_source": peak.source,
            "guard": setup.guard.to_dict(),
        }

    def begin(self, state: State, *, is_resumed: bool, **about: Any) -> bool:
        """Open the file at `state` and say so; return whether the line of the state's step is still to be written.

        A kill leaves it unwritten behind a checkpoint. `state.val_loss` becomes that of the last evaluation told.
        Args: about: what else the start of a run tells.
        """
        world, lines = self.setup.world, list[dict[str, Any]]()
        if world.is_root:
            lines = [] if not is_resumed else read_lines(self.folder.metrics)
            lines = [line for line in lines if line.get("step", -1) <= state.step]
            self.open(None if not is_resumed else state.step)
            if not any(line.get("event") == "start" for line in lines):
                self._start(about)
            if is_resumed:
                self.event("resume", step=state.step, **self._about)
        steps = [line for line in lines if "step" in line and "event" not in line]
        values = [line["val_loss"] for line in steps if "val_loss" in line]
        is_written = any(line["step"] == state.step for line in steps)
        is_written, state.val_loss = world.bcast((is_written, values[-1] if values else None))
        return bool(state.line) and not is_written

    def _start(self, about: dict[str, Any]) -> None:
        setup = self.setup
        self.event(
            "start",
            **about,
            num_params=num_params(setup.model).total,
            num_steps=setup.num_steps,
            mfu_formula=MFU_FORMULA,
            flops_formula=FLOPS_FORMULA,
            flops_per_token=self.throughput.flops_per_token,
            **({"init_from": setup.train.init_from} if setup.train.init_from else {}),
            **self._about,
        )

    def open(self, resume_step: int | None) -> None:
        """Open the file on rank 0, cut behind `resume_step`; afresh when None."""
        if not self.setup.world.is_root:
            return
        self.close()
        board = self.folder.train / "tensorboard" if self.setup.train.tensorboard else None
        self._log = MetricsLog(self.folder.metrics, resume_step=resume_step, tensorboard=board)

    def event(self, name: str, **values: Any) -> None:
        """Write an event, on rank 0."""
        if self._log is not None:
            self._log.event(name, **values)

    def step(self, state: State) -> None:
        """Write the line of the state's step, on rank 0."""
        if self._log is not None:
            self._log.step(state.step, **state.line)

    def close(self) -> None:
        """Close the file; it may be opened again."""
        if self._log is not None:
            self._log.close()
            self._log = None
