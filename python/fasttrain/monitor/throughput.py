"""How fast a step was, against what the machine could do, and how much memory it holds.

MFU = tokens/s * FLOPs per token / (peak FLOP/s of all ranks). The FLOPs per token are the model's (model/cost.py, the
formula is printed with every run); the peak is declared, known for the card, or measured by a matrix product here.
"""

import os
import time
from dataclasses import dataclass

import psutil
import torch

from fasttrain.core.precision import has_bf16

MFU_FORMULA = "tokens/s * FLOPs per token / (ranks * peak FLOP/s of a rank)"

# Dense peaks of the data sheets, FLOP/s in bf16 and fp16. Names as torch.cuda.get_device_name gives them; H200 and H100
# differ in memory only. A card that is not here is measured, never guessed.
_CARDS = {"H200": 989e12, "H100 80GB HBM3": 989e12, "H100 PCIe": 756e12, "A100": 312e12, "L40S": 362e12}


@dataclass(frozen=True)
class Peak:
    """What one rank's device can do at most."""

    flops: float  # FLOP/s
    source: str  # where the number is from


def peak_flops(device: torch.device, dtype: torch.dtype, declared: float | None = None) -> Peak:
    """The device's peak for matrix products of `dtype`: declared, known by name, or measured in about 0.2 s.

    A CPU that emulates `dtype` is measured in fp32, by what it could do: the emulation then looks as bad as it is.
    """
    if declared is not None:
        return Peak(declared, "declared in the recipe")
    if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16):
        name = torch.cuda.get_device_name(device)
        for card, flops in _CARDS.items():
            if card in name:
                return Peak(flops, f"data sheet of {name}, dense {dtype}")
    if device.type == "cpu" and (dtype == torch.float16 or (dtype == torch.bfloat16 and not has_bf16(device))):
        dtype = torch.float32
    return Peak(measured_flops(device, dtype), f"measured: {dtype} matrix product on {device.type}")


def measured_flops(device: torch.device, dtype: torch.dtype, *, n: int = 1024, seconds: float = 0.2) -> float:
    """Best rate of (n, n) @ (n, n) products within `seconds`, FLOP/s, on as many threads as torch uses."""
    a = torch.randn(n, n, device=device).to(dtype)
    out = torch.empty_like(a)
    torch.mm(a, a, out=out)  # the first one loads the kernels
    best, end = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        start = time.perf_counter()
        torch.mm(a, a, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2.0 * n**3 / (time.perf_counter() - start))
    return best


def measured_copy(device: torch.device, *, num_bytes: int = 256 << 20, seconds: float = 0.5) -> float:
    """Best rate of copies of `num_bytes` within `seconds`: bytes read and written a second, on torch's threads."""
    source = torch.ones(num_bytes // 4, device=device)
    target = torch.empty_like(source).copy_(source)
    best, end = 0.0, time.perf_counter() + seconds
    while best == 0.0 or time.perf_counter() < end:
        start = time.perf_counter()
        target.copy_(source)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best = max(best, 2.0 * num_bytes / (time.perf_counter() - start))
    return best


def memory_bytes(device: torch.device) -> int:
    """What this rank holds now: resident memory of the process, or the card's peak allocation."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return int(psutil.Process(os.getpid()).memory_info().rss)


class Throughput:
    """Turns a step's wall time into the run's rates.

    Args:
        flops_per_token: of the whole model, forward and backward.
        peak: of one rank.
        num_ranks: of the run.
    """

    def __init__(self, *, flops_per_token: float, peak: Peak, num_ranks: int) -> None:
        self.flops_per_token, self.peak, self.num_ranks = flops_per_token, peak, num_ranks
        self._start = time.perf_counter()

    def start(self) -> None:
        """Steps begin, the first of a run or after an interruption."""
        self._start = time.perf_counter()

    def step(self, num_tokens: int, flops_per_token: float | None = None, *, aside_s: float = 0.0) -> dict[str, float]:
        """A step is over and the next begins: `step_s`, `tokens_per_s` (of all ranks together) and `mfu`.

        No second between two steps is left out: what is done behind a step's end is in the next one's time.
        Args:
            flops_per_token: of a step whose sequences are shorter than the run's.
            aside_s: seconds of it that went into something else, a checkpoint say.
        """
        now = time.perf_counter()
        seconds, self._start = max(now - self._start - aside_s, 1e-9), now
        rate = num_tokens / seconds
        mfu = rate * (flops_per_token or self.flops_per_token) / (self.num_ranks * self.peak.flops)
        return {"step_s": seconds, "tokens_per_s": rate, "mfu": mfu}
