"""`train --profile`: a trace of some steps, and a table of where their time goes."""

import json
import logging
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity

from fasttrain.formats import atomic
from fasttrain.monitor import op_table
from fasttrain.monitor.spans import ASIDE
from fasttrain.monitor.throughput import measured_copy, measured_flops

log = logging.getLogger("fasttrain.train")
WARMUP_STEPS = 3  # caches are filled, kernels loaded


class Profile:
    """Profiles `num_steps` steps of rank 0 behind the first few, then writes trace.json, table.txt and table.json."""

    def __init__(
        self, folder: Path, num_steps: int, *, device: torch.device, dtype: torch.dtype, state_bytes: int
    ) -> None:
        """
        Args:
            num_steps: 0: nothing is profiled.
            dtype: of the matrix products, for the peak.
            state_bytes: bytes that norm, checks and the optimizer move a step, known to nobody else.
        """
        self.folder, self.num_steps, self.device, self.dtype = folder, num_steps, device, dtype
        self._known = {"optimizer": float(state_bytes)}
        self._step = 0
        self._start = 0.0
        self._profiler: Any = None

    def step(self) -> None:
        """A step begins: call it before each, and once behind the last."""
        if not self.num_steps:
            return
        if self._step == WARMUP_STEPS:
            activities = [ProfilerActivity.CPU]
            activities += [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
            self._profiler = torch.profiler.profile(activities=activities, record_shapes=True)
            self._profiler.start()
            self._start = time.perf_counter()
        elif self._step == WARMUP_STEPS + self.num_steps:
            self.finish()
        self._step += 1

    def finish(self) -> None:
        """Write what was seen; a run that ends early is profiled for the steps that it had."""
        if self._profiler is None:
            return
        wall, num_steps = time.perf_counter() - self._start, self._step - WARMUP_STEPS
        profiler, self._profiler = self._profiler, None
        profiler.stop()
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic.replacing(self.folder / "trace.json", durable=False) as path:
            profiler.export_chrome_trace(str(path))
        events = json.loads((self.folder / "trace.json").read_text())["traceEvents"]
        wall -= sum(op_table.span_s(events, name) for name in ASIDE)
        found = op_table.rows(events, num_steps, self._known)
        figures = {
            "step_s": wall / num_steps,
            "peak_gflops": measured_flops(self.device, self.dtype) / 1e9,
            "peak_gbytes": measured_copy(self.device) / 1e9,
            "outside": op_table.outside_share(events, wall),
        }
        atomic.write_json(self.folder / "table.json", {**figures, "rows": [asdict(row) for row in found]})
        table = op_table.text(found, **figures)
        atomic.write_bytes(self.folder / "table.txt", table.encode())
        log.info("train: profile of %d steps in %s\n%s", num_steps, self.folder, table)
