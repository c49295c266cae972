"""`train --profile`: a trace of some steps, and a table of where their time goes."""

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity

from fasttrain.formats import atomic
from fasttrain.monitor import op_table
from fasttrain.monitor.spans import ASIDE
from fasttrain.monitor.throughput import measured_copy, measured_flops
from fasttrain.parallel.stage import MicroBatch

log = logging.getLogger("fasttrain.train")
WARMUP_STEPS = 3  # caches are filled, kernels loaded


class Profile:
    """Profiles `num_steps` steps of rank 0 behind the first few, then writes trace.json, table.txt and table.json."""

    def __init__(
        self,
        folder: Path,
        num_steps: int,
        *,
        device: torch.device,
        dtype: torch.dtype,
        state_bytes: int,
        model_flops: float,
    ) -> None:
        """
        Args:
            num_steps: 0: nothing is profiled.
            dtype: of the matrix products, for the peak.
            state_bytes: bytes that norm, checks and the optimizer move a step, known to nobody else.
            model_flops: this rank's share of a step's FLOPs, by the model's formula.
        """
        self.folder, self.num_steps, self.device, self.dtype = folder, num_steps, device, dtype
        self._known, self._model_flops = {"optimizer": float(state_bytes)}, model_flops
        self._step = 0
        self._pairs = [0.0, 0.0]  # of queries and keys: that documents leave, of whole causal triangles
        self._last = self._start = self._unprofiled_s = 0.0
        self._profiler: Any = None

    def step(self) -> None:
        """A step begins: call it before each, and once behind the last."""
        if not self.num_steps:
            return
        if self._step == WARMUP_STEPS:
            self._unprofiled_s = time.perf_counter() - self._last
            activities = [ProfilerActivity.CPU]
            activities += [ProfilerActivity.CUDA] if self.device.type == "cuda" else []
            # acc_events: torch 2.11 warns without it, even of a single cycle, that a next one would clear the events.
            self._profiler = torch.profiler.profile(activities=activities, record_shapes=True, acc_events=True)
            self._profiler.start()
            self._start = time.perf_counter()
        elif self._step == WARMUP_STEPS + self.num_steps:
            self.finish()
        self._last = time.perf_counter()
        self._step += 1

    def saw(self, micro_batches: Sequence[MicroBatch]) -> None:
        """Note the documents of a step's batch: attention computes no pairs across them."""
        if self._profiler is None:
            return
        for micro in micro_batches:
            B, T = micro.tokens.shape
            whole = B * T * (T + 1) / 2
            self._pairs[0] += whole if micro.segments is None else _pairs(micro.segments)
            self._pairs[1] += whole

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
        share = self._pairs[0] / self._pairs[1] if self._pairs[1] else 1.0
        found = op_table.rows(events, num_steps, self._known, attention_share=share)
        peaks = op_table.Peaks(
            gflops=measured_flops(self.device, self.dtype) / 1e9, gbytes=measured_copy(self.device) / 1e9
        )
        figures = {
            "step_s": wall / num_steps,
            "unprofiled_s": self._unprofiled_s,
            "outside": op_table.outside_share(events, wall),
            "model_flops": self._model_flops,
        }
        told = {"peak_gflops": peaks.gflops, "peak_gbytes": peaks.gbytes, "attention_share": share, **figures}
        atomic.write_json(self.folder / "table.json", {**told, "rows": [asdict(row) for row in found]})
        table = op_table.text(found, peaks=peaks, **figures)
        atomic.write_bytes(self.folder / "table.txt", table.encode())
        log.info("train: profile of %d steps in %s\n%s", num_steps, self.folder, table)


def _pairs(segments: torch.Tensor) -> float:
    """Pairs of a query and a key not after it, of one document: sum of n (n + 1) / 2 over runs of n equal ids."""
    ids = segments.cpu().numpy()  # by numpy, which leaves no ops in the trace
    B, T = ids.shape
    begins = np.ones((B, T), bool)
    begins[:, 1:] = ids[:, 1:] != ids[:, :-1]
    n = np.diff(np.append(np.flatnonzero(begins), B * T)).astype(np.float64)
    return float((n * (n + 1) / 2).sum())
