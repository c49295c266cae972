"""Seconds of a step: counts of its work against the rates that the calibration measured here.

forward, backward   (m + pp - 1) micro_s / (tp pp), m micro-batches a data-parallel rank
AdamW               seconds a parameter; under Muon, of those that are not blocks' matrices
Muon                its passes over memory: seconds a parameter of blocks' matrices; its products: FLOPs of the matrices
                    that the rank has which has most (optim/muon_work.py), each shape at its own rate
norm, checks        a sum of squares over the gradient and over each moment
gradients           4 bytes a parameter / all-reduce rate, where dp > 1
Muon's exchange     the updates that come from other ranks, in the products' dtype, and within a replica the slices of
                    momentum, in fp32, / rate a link (all-reduce rate * 2 (R - 1) / R: what each of R ranks sends of a
                    buffer that is reduced)

Not counted: what ranks wait for each other, traffic of tensor and pipeline parallelism, and what lies between the
phases (batches, guard, metrics), under 1 % of steps of half a second. Nothing is taken to overlap. A stretch of shorter
sequences costs less by the model's FLOPs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fasttrain.batch.config import BatchWarmup
from fasttrain.comm.mesh import LayoutConfig
from fasttrain.estimate.calibrate import Calibration, block_matrices, shape_name
from fasttrain.estimate.memory import FP32, muon_params, rank_params
from fasttrain.model.config import ModelConfig
from fasttrain.model.cost import flops_per_token
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon_work import assign, flops


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Steps of one size."""

    steps: int
    rows: int
    """Sequences of `Work.seq_len` tokens a step, over all ranks."""
    piece_len: int
    """Tokens that attend to each other."""


def stretches(num_steps: int, rows: int, seq_len: int, warmup: Sequence[BatchWarmup] = ()) -> list[Stretch]:
    """A run in stretches: those of the warm-up, then the rest."""
    found, left = list[Stretch](), num_steps
    for part in warmup:
        steps = min(left, part.steps)
        found.append(Stretch(steps=steps, rows=part.global_batch or rows, piece_len=part.seq_len or seq_len))
        left -= steps
    return [*found, Stretch(steps=left, rows=rows, piece_len=seq_len)]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a rank has to do in each step, whatever the batch, and how it takes a batch."""

    model: ModelConfig
    layout: LayoutConfig
    """Resolved."""
    optim: OptimConfig
    seq_len: int
    micro_rows: int
    recompute: int
    product_bytes: int
    """Of a value in the dtype of Muon's products."""

    def step_s(self, found: Calibration, stretch: Stretch) -> float:
        """Seconds of a step of `stretch`."""
        return sum(self.parts(found, stretch).values())

    def parts(self, found: Calibration, stretch: Stretch) -> dict[str, float]:
        """Its seconds by what they go into."""
        return {
            "forward and backward": self.compute_s(found, stretch),
            "optimizer": self.passes_s(found),
            "Muon's products": self.products_s(found),
            "exchange": self.exchange_s(found),
        }

    def compute_s(self, found: Calibration, stretch: Stretch) -> float:
        """Forward and backward."""
        mesh = self.layout
        rows = -(-stretch.rows // mesh.dp)
        num_micro = -(-rows // self.micro_rows)
        micro = found.micro_s(self.model.num_layers, rows * self.seq_len / num_micro, self.recompute)
        part = flops_per_token(self.model, stretch.piece_len) / flops_per_token(self.model, self.seq_len)
        return part * micro * (num_micro + mesh.pp - 1) / (mesh.tp * mesh.pp)

    def passes_s(self, found: Calibration) -> float:
        """Norm, checks and the optimizers' steps, without Muon's products."""
        params, _ = rank_params(self.model, self.layout)
        muons = muon_params(self.model, self.layout, self.optim)
        values = 3 * params - muons  # gradient, first moment, second moment
        return found.norm_s * values + found.optimizer_s * (params - muons) + found.muon_passes_s * muons

    def products_s(self, found: Calibration) -> float:
        """Muon's products on the rank of a stage that has most of them."""
        if self.optim.name != "muon":
            return 0.0
        layers = -(-self.model.num_layers // self.layout.pp)
        shapes = block_matrices(self.model) * layers
        seconds = [flops(shape) / found.muon_flops_per_s[shape_name(shape)] for shape in shapes]
        return max(sum(seconds[i] for i in mine) for mine in assign(shapes, self.layout.dp * self.layout.tp))

    def exchange_s(self, found: Calibration) -> float:
        """Gradients summed over replicas, and Muon's slices and updates."""
        rate, mesh = found.allreduce_bytes_per_s, self.layout
        if not rate:
            return 0.0
        params, _ = rank_params(self.model, mesh)
        seconds = params * FP32 / rate if mesh.dp > 1 else 0.0
        muons, ranks = muon_params(self.model, mesh, self.optim), mesh.dp * mesh.tp
        sent = muons * self.product_bytes * (1 - 1 / ranks) + muons * FP32 * (mesh.tp - 1) / mesh.tp / mesh.dp
        return seconds + sent / (rate * 2 * (1 - 1 / found.num_ranks))
