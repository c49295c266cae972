"""A short calibration: forward and backward of one and of two layers at the model's real width, timed here.

A step's time is linear in the number of layers, so t(L) = t(1) + (L - 1) (t(2) - t(1)): a model of any depth is
estimated in the memory and time of two layers. What it costs to recompute a layer is the difference of two layers with
and without. The optimizers' passes over memory are measured on one layer's parameters and scaled by their number; of
Muon's products the rate is, for each shape of the model's matrices.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch

from fasttrain.comm.group import Group
from fasttrain.comm.threads import threads_of_rank
from fasttrain.core import pages
from fasttrain.core.malloc import keep_pages
from fasttrain.core.precision import Precision, autocast
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import num_params
from fasttrain.model.init import init_, param_shapes
from fasttrain.model.transformer import Transformer
from fasttrain.optim.adamw import AdamW
from fasttrain.optim.clip import tensor_sums_squares
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon import Muon, muon_dtype, orthogonalize
from fasttrain.optim.muon_work import flops, is_muons

METHOD = (
    "median of {repeats} forward + backward passes of 1 and of 2 layers at full width on {tokens} tokens, extrapolated "
    "in layers and tokens; optimizer measured and scaled by parameters, Muon's products by FLOPs at the rate of each "
    "shape; all ranks at once, the slowest counts"
)
MUON_FLOPS = 2e10  # of the largest matrix that is made orthogonal here, some 50 ms on a core: large enough for its rate


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measured times of this machine for one model's width."""

    first_layer_s: float  # forward + backward of embedding, one layer and head
    layer_s: float  # each further layer
    recompute_s: float = 0.0  # what a layer costs more that is computed again in backward
    tokens: int  # of those passes
    optimizer_s: float  # a parameter of AdamW
    norm_s: float = 0.0  # a value, of a sum of squares
    muon_passes_s: float = 0.0  # a parameter of Muon, what its step does beside the products
    muon_flops_per_s: dict[str, float] = field(default_factory=dict)  # of its products, by `shape_name`
    allreduce_bytes_per_s: float | None  # of the ranks; None on one rank
    num_ranks: int = 1  # that measured
    method: str

    def micro_s(self, num_layers: int, tokens: float, recompute: int = 0) -> float:
        """Seconds of forward and backward of a micro-batch; every `recompute`-th layer is computed again, 0: none."""
        again = -(-num_layers // recompute) * self.recompute_s if recompute else 0.0
        return (self.first_layer_s + (num_layers - 1) * self.layer_s + again) * tokens / self.tokens

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def calibrate(
    model: ModelConfig,
    *,
    seq_len: int,
    micro_rows: int,
    precision: Precision,
    world: Group,
    optim: OptimConfig | None = None,
    recompute: bool = False,
    device: str = "cpu",
    max_tokens: int = 4096,
    repeats: int = 3,
) -> Calibration:
    """Time this machine; every rank must call it. Takes about 2 * (repeats + 1) passes of at most `max_tokens` tokens.

    A micro-batch of more tokens is measured with fewer rows; a sequence is never shortened, since attention's cost
    is not linear in it.
    Args:
        optim: Muon's is measured beside AdamW's.
        recompute: whether the cost of computing a layer again is measured too.
    """
    rows = max(1, min(micro_rows, max_tokens // seq_len))
    keep_pages()  # as training does: without it large tensors cost several times their work in page faults
    before = torch.get_num_threads()
    torch.set_num_threads(threads_of_rank())
    try:
        return _calibrate(model, rows, seq_len, precision, world, device, repeats, recompute, optim or OptimConfig())
    finally:
        torch.set_num_threads(before)
        pages.give_back()  # a model of other depth fills few of the holes that these two leave


def _calibrate(
    model: ModelConfig,
    rows: int,
    seq_len: int,
    precision: Precision,
    world: Group,
    device: str,
    repeats: int,
    recompute: bool,
    optim: OptimConfig,
) -> Calibration:
    times = []
    optimizer_s = norm_s = muon_passes_s = 0.0
    for num_layers, again in ((1, 0), (2, 0), (2, 1))[: 3 if recompute else 2]:
        net = init_(Transformer(model.model_copy(update={"num_layers": num_layers, "dropout": 0.0})), 0).to(device)
        tokens = torch.randint(0, model.vocab_size, (rows, seq_len), device=device)

        def step(net: Transformer = net, tokens: torch.Tensor = tokens, again: int = again) -> None:
            with autocast(precision, torch.device(device)):
                nll, _ = net(tokens, tokens, context=net.context(seq_len, recompute=again, device=tokens.device))
            nll.mean().backward()

        times.append(_median(step, repeats, device, world))
        if num_layers == 1:
            optimizer = AdamW(net.parameters(), lr=0.0)
            count = sum(p.numel() for p in net.parameters())
            optimizer_s = _median(lambda: optimizer.step(), repeats, device, world) / count  # noqa: B023
            every = list(net.parameters())
            norm_s = _median(lambda: tensor_sums_squares(every), repeats, device, world) / count  # noqa: B023
            matrices = [p for name, p in net.named_parameters() if is_muons(optim, name, p.shape)]
            if matrices:
                passes = _Passes(matrices, lr=0.0)
                count = sum(p.numel() for p in matrices)
                muon_passes_s = _median(lambda: passes.step(), repeats, device, world) / count  # noqa: B023
    return Calibration(
        first_layer_s=world.reduce(times[0], "max"),
        layer_s=world.reduce(max(times[1] - times[0], 0.0), "max"),
        recompute_s=world.reduce(max(times[2] - times[1], 0.0) / 2 if recompute else 0.0, "max"),
        tokens=rows * seq_len,
        optimizer_s=world.reduce(optimizer_s, "max"),
        norm_s=world.reduce(norm_s, "max"),
        muon_passes_s=world.reduce(muon_passes_s, "max"),
        muon_flops_per_s=_muon_rates(model, precision, repeats, device, world) if optim.name == "muon" else {},
        allreduce_bytes_per_s=_allreduce_rate(world, num_params(model).total),
        num_ranks=world.size,
        method=METHOD.format(repeats=repeats, tokens=rows * seq_len),
    )


class _Passes(Muon):
    """Muon without its products: momentum, and the step by what it gives."""

    def updates(self, means: Iterator[tuple[int, torch.Tensor]]) -> Iterator[tuple[int, torch.Tensor]]:
        yield from means


def block_matrices(model: ModelConfig) -> list[tuple[int, ...]]:
    """Shapes of the matrices of one block."""
    shapes = param_shapes(model.model_copy(update={"num_layers": 1}))
    return [shape for name, shape in shapes.items() if name.startswith("blocks.") and len(shape) == 2]


def shape_name(shape: tuple[int, ...]) -> str:
    """A matrix and its transpose cost the same, and have one name: "320x832"."""
    return "x".join(map(str, sorted(shape)))


def _muon_rates(model: ModelConfig, precision: Precision, repeats: int, device: str, world: Group) -> dict[str, float]:
    """FLOP/s at which each shape of a block's matrices is made orthogonal.

    A matrix of more than MUON_FLOPS is measured by a smaller one of its proportions.
    """
    rates = {}
    for shape in sorted({(min(shape), max(shape)) for shape in block_matrices(model)}):
        n, m = shape
        while flops((n, m)) > MUON_FLOPS:
            n, m = -(-n // 2), -(-m // 2)
        x = torch.randn(n, m, device=device)
        seconds = _median(lambda: orthogonalize(x, dtype=muon_dtype(precision)), repeats, device, world)  # noqa: B023
        rates[shape_name(shape)] = flops((n, m)) / world.reduce(seconds, "max")
    return rates


def _allreduce_rate(world: Group, params: int) -> float | None:
    if world.size == 1:
        return None
    buffer = np.zeros(min(params, 1 << 22), np.float32)
    seconds = world.reduce(_median(lambda: world.iallreduce_(buffer).wait(), 3, "cpu", world), "max")
    return buffer.nbytes / seconds


def _median(work: Callable[[], object], repeats: int, device: str, world: Group) -> float:
    work()  # pages are mapped, kernels are chosen
    times = []
    for _ in range(repeats):
        world.barrier()
        start = time.perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)
