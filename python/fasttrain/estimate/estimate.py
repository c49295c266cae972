"""What a run will cost, before it is spent: parameters, FLOPs, memory of a rank, time, money, KV cache.

What a step's seconds are made of is in step_time.py, a rank's bytes in memory.py.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from fasttrain.batch.config import BatchWarmup
from fasttrain.comm.group import Group, SoloGroup
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.core import pages
from fasttrain.core.errors import ConfigError
from fasttrain.core.precision import DTYPES, Precision
from fasttrain.estimate.calibrate import Calibration, calibrate
from fasttrain.estimate.memory import Memory, rank_memory
from fasttrain.estimate.step_time import Work, stretches
from fasttrain.formats import atomic
from fasttrain.formats.run_folder import RunFolder
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import FLOPS_FORMULA, flops_per_token, num_params
from fasttrain.monitor.throughput import memory_bytes
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon import muon_dtype

FILE = "estimate.json"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A run's cost."""

    params: dict[str, int]  # total, embedding, non_embedding
    flops_formula: str
    flops_per_token: int
    tokens_per_step: int
    num_steps: int
    total_tokens: int
    total_flops: float
    layout: dict[str, int]
    precision: str
    memory: dict[str, int]  # bytes of the fullest rank, by part
    kv_cache: dict[str, int]  # bytes a token of context in 16 bits: this model, and with all heads or one
    contexts: list[dict[str, float]]  # what longer sequences cost
    step_s: float | None = None  # behind a warm-up of batches; None without a calibration
    step_parts: dict[str, float] = field(default_factory=dict)  # seconds by what they go into; they sum to step_s
    tokens_per_s: float | None = None
    total_s: float | None = None
    price: float | None = None  # of the whole run, in the currency of price_per_rank_hour
    calibration: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def estimate(
    model: ModelConfig,
    *,
    seq_len: int,
    batch_rows: int,
    micro_rows: int,
    num_steps: int,
    layout: LayoutConfig | None = None,
    num_ranks: int = 1,
    precision: Precision = "fp32",
    optim: OptimConfig | None = None,
    warmup: Sequence[BatchWarmup] = (),
    recompute: int = 0,
    cuda_graph: bool = False,
    async_write: bool = True,
    device: str = "cpu",
    run_calibration: bool = True,
    price_per_rank_hour: float | None = None,
    world: Group | None = None,
) -> Estimate:
    """Estimate a run without running it; with `run_calibration` a few passes of two layers are timed here.

    Args:
        model: with vocab_size filled in.
        seq_len: tokens of a sequence (T).
        batch_rows: sequences of a global batch, over all ranks.
        micro_rows: sequences of one forward pass of one rank.
        optim: AdamW when None.
        warmup: stretches of smaller batches or shorter sequences, which the whole run's figures count.
        recompute: every how many blocks one is computed again in backward; 0: none.
        cuda_graph: whether micro-batches become CUDA graphs where that can be.
        async_write: whether training goes on while a checkpoint is written.
        layout, num_ranks: of the run that is estimated, which need not be the one that estimates.
        price_per_rank_hour: what a rank costs an hour.
        world: the ranks that calibrate together: the run's own ranks give the truest times.
    Raises: ConfigError: no vocabulary, or a batch that the layout does not divide.
    """
    if model.vocab_size < 1:
        raise ConfigError("model.vocab_size: must be known for an estimate, got 0; set tokenizer.vocab_size")
    mesh = (layout or LayoutConfig()).resolve(num_ranks)
    if batch_rows % (mesh.dp * micro_rows):
        raise ConfigError(
            f"batch: {batch_rows} sequences of a global batch must be a multiple of layout.dp * micro-batch = "
            f"{mesh.dp} * {micro_rows}"
        )
    num_micro, tokens_per_step = batch_rows // (mesh.dp * micro_rows), batch_rows * seq_len
    optim = optim or OptimConfig()
    process = _process_bytes(torch.device(device), precision)  # before the calibration makes a model
    parts = stretches(num_steps, batch_rows, seq_len, warmup)
    step_s: float | None = None
    total_s: float | None = None
    step_parts: dict[str, float] = {}
    found: Calibration | None = None
    if run_calibration:
        found = calibrate(model, seq_len=seq_len, micro_rows=micro_rows, precision=precision, device=device,
                          optim=optim, recompute=recompute > 0, world=world or SoloGroup())  # fmt: skip
        if device == "cpu":  # what its products have loaded stays; what its models took is given back
            process = max(process, memory_bytes(torch.device(device)))
        work = Work(model=model, layout=mesh, optim=optim, seq_len=seq_len, micro_rows=micro_rows, recompute=recompute,
                    product_bytes=muon_dtype(precision).itemsize)  # fmt: skip
        step_parts = work.parts(found, parts[-1])
        step_s = sum(step_parts.values())
        total_s = sum(part.steps * work.step_s(found, part) for part in parts)
    priced = total_s is not None and price_per_rank_hour is not None
    memory = rank_memory(model, mesh, micro_tokens=micro_rows * seq_len, num_micro=num_micro, precision=precision,
                         recompute=recompute, async_write=async_write, optim=optim, process=process,
                         device=device, cuda_graph=cuda_graph)  # fmt: skip
    return Estimate(
        params=asdict(num_params(model)),
        flops_formula=FLOPS_FORMULA,
        flops_per_token=flops_per_token(model, seq_len),
        tokens_per_step=tokens_per_step,
        num_steps=num_steps,
        total_tokens=sum(part.steps * part.rows for part in parts) * seq_len,
        total_flops=float(sum(p.steps * p.rows * seq_len * flops_per_token(model, p.piece_len) for p in parts)),
        layout={"dp": mesh.dp, "tp": mesh.tp, "pp": mesh.pp},
        precision=precision,
        memory=memory.to_dict(),
        kv_cache=kv_cache(model),
        contexts=contexts(model, [seq_len * k for k in (1, 2, 4, 8, 16)], precision, recompute),
        step_s=step_s,
        step_parts=step_parts,
        tokens_per_s=None if step_s is None else tokens_per_step / step_s,
        total_s=total_s,
        price=(total_s or 0.0) / 3600 * num_ranks * (price_per_rank_hour or 0.0) if priced else None,
        calibration={} if found is None else found.to_dict(),
    )


def kv_cache(model: ModelConfig, bytes_per_value: int = 2) -> dict[str, int]:
    """Bytes a token of context costs in serving, 2 L Hkv D values: this model, and as multi-head and multi-query."""
    one = 2 * model.num_layers * model.D * bytes_per_value
    return {"this model": one * model.Hkv, "all heads (MHA)": one * model.num_heads, "one head (MQA)": one}


def contexts(
    model: ModelConfig, lengths: Sequence[int], precision: str = "bf16", recompute: int = 0
) -> list[dict[str, float]]:
    """What sequences of other lengths cost, in training and in serving, one row a length."""
    rows = []
    for length in lengths:
        flops = flops_per_token(model, length)
        memory = rank_memory(
            model, LayoutConfig(dp=1), micro_tokens=length, num_micro=1, precision=precision, recompute=recompute
        )
        rows.append(
            {
                "tokens": length,
                "flops_per_token": flops,
                "attention_share": 1 - flops_per_token(model, 0) / flops,
                "activation_bytes": memory.activations + memory.head,
                "kv_cache_bytes": kv_cache(model)["this model"] * length,
            }
        )
    return rows


def save(run: RunFolder, found: Estimate) -> Path:
    """Write the estimate beside the run's metrics, where `error` and the report look for it."""
    path = run.train / FILE
    atomic.write_json(path, found.to_dict())
    return path


def load(run: RunFolder) -> Estimate | None:
    """The saved estimate; None when the run was started without one."""
    path = run.train / FILE
    return Estimate(**atomic.read_json(path)) if path.exists() else None


def error(found: Estimate, step_s: Sequence[float], memory_bytes: float | None = None) -> dict[str, dict[str, float]]:
    """Compare the prediction with what was measured: figure -> predicted, measured, error (1 = twice as much).

    Args:
        step_s: seconds of each step; the median counts, so that first steps and checkpoints do not.
        memory_bytes: greatest resident size of a rank.
    """
    out: dict[str, dict[str, float]] = {}
    if found.step_s is not None and step_s:
        out["step_s"] = _compare(found.step_s, statistics.median(step_s))
        whole = found.total_s or found.step_s * found.num_steps
        out["total_s"] = _compare(whole * len(step_s) / found.num_steps, sum(step_s))
    if memory_bytes:
        out["memory_bytes"] = _compare(float(found.memory["total"]), memory_bytes)
    return out


def _process_bytes(device: torch.device, precision: Precision) -> int:
    """What a process holds that has computed, without a model: kernels, autograd."""
    pages.give_back()  # of the data stages before
    x = torch.ones(256, 256, dtype=DTYPES[precision], device=device, requires_grad=True)
    torch.mm(x, x).sum().backward()  # type: ignore[no-untyped-call]
    return memory_bytes(device)


def _compare(predicted: float, measured: float) -> dict[str, float]:
    return {"predicted": predicted, "measured": measured, "error": predicted / measured - 1 if measured else 0.0}


__all__ = ["Estimate", "Memory", "contexts", "error", "estimate", "kv_cache", "load", "save"]
