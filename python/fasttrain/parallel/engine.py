"""The engine: a model on a mesh of ranks. Forward, backward, one global gradient, one step, state by global names.

What it returns is the same on every rank, so that ranks can decide alike. One process is the mesh of one rank.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from fasttrain.checkpoint.store import EMA
from fasttrain.comm.mesh import Mesh
from fasttrain.core.precision import Precision
from fasttrain.model.config import ModelConfig
from fasttrain.model.width import is_embedding, lr_scale
from fasttrain.monitor.spans import Spans
from fasttrain.nn.dropout import DropoutKey
from fasttrain.optim.clip import clip_coefficient, tensor_sum_squares, tensor_sums_squares
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon_work import is_muons
from fasttrain.parallel import pipeline
from fasttrain.parallel.data import ALONE_BUCKET_BYTES, BUCKET_BYTES, BucketReducer, FlatParameters
from fasttrain.parallel.graph import Graphs
from fasttrain.parallel.loss_scale import make_scaler
from fasttrain.parallel.plan import Plan
from fasttrain.parallel.stage import MicroBatch, Stage
from fasttrain.parallel.sums import Sums, Totals
from fasttrain.parallel.timed import timed_mesh
from fasttrain.parallel.update import Update
from fasttrain.parallel.wire import Wire

_TIED = 3  # message tag


class Engine:
    """One rank's part of a model that is trained on a mesh."""

    def __init__(
        self,
        config: ModelConfig,
        mesh: Mesh,
        optim: OptimConfig,
        *,
        seed: int,
        num_sources: int = 1,
        precision: Precision = "fp32",
        device: torch.device | None = None,
        bucket_bytes: int | None = None,
        overlap: bool = True,
        ema_decay: float = 0.0,
        recompute: int = 0,
        cuda_graph: bool = False,
    ) -> None:
        """Cut the model and draw its initial weights, a pure function of (config, seed).

        Args:
            seed: of the weights, of dropout and of stochastic rounding.
            num_sources: S, sources are numbered 0..S-1 in `MicroBatch.sources`.
            bucket_bytes: smallest size of what gradients are reduced in; None: as suits the number of replicas.
            overlap: whether gradients are reduced while backward still runs; the bits are the same.
            ema_decay: of a running average of the weights, a step; 0: none is kept.
            recompute: every how many blocks one is computed again in backward, for memory; 0: none; the same bits.
            cuda_graph: whether micro-batches become CUDA graphs where that can be (graph.py); the same bits.
        Raises: ConfigError: the model cannot be cut so.
        """
        self.spans = Spans()
        self.mesh = mesh = timed_mesh(mesh, self.spans)
        self.config, self.optim, self.seed = config, optim, seed
        self.num_sources = num_sources
        self.device = device or torch.device("cpu")
        self._tp, self._dp, self._pp = (Wire(group, self.spans) for group in (mesh.tp, mesh.dp, mesh.pp))
        self.plan = Plan(config, mesh)
        self.stage = Stage(self.plan, wire=self._tp, device=self.device, precision=precision, recompute=recompute)
        self.scaler = make_scaler(precision)
        self.flat = FlatParameters(
            self.stage.named.items(),
            self.device,
            lr_scale=lambda name: lr_scale(config, name) * (optim.embed_lr_ratio if is_embedding(name) else 1.0),
            bucket_bytes=bucket_bytes or (BUCKET_BYTES if mesh.dp.size > 1 else ALONE_BUCKET_BYTES),
        )
        self._reducer = BucketReducer(self.flat, self._dp, overlap=overlap)
        self._update = Update(self.flat, optim, plan=self.plan, precision=precision, seed=seed, spans=self.spans)
        self.stage.draw(seed)  # last: what it needs meanwhile is not held between buffers that stay
        can_graph = cuda_graph and self.device.type == "cuda" and mesh.world.size == 1 and not config.dropout
        self._graphs = Graphs(self.flat) if can_graph else None
        self.ema_decay = ema_decay
        self._ema = self.flat.exact() if ema_decay else None

    # ---- one step

    def forward_backward(self, micro_batches: Sequence[MicroBatch], *, step: int) -> Sums:
        """Put the gradient of the global batch's mean loss (times the loss scale) into every replica's flat buffer.

        loss = (sum nll + z_loss * sum z2) / targets of the whole global batch, so that neither accumulation nor the
        number of replicas changes what a token weighs.
        Args:
            micro_batches: this replica's rows; the same on every stage and tensor-parallel rank.
            step: what dropout masks depend on, beside the seed and the rows.
        """
        self.flat.drop_grads()
        local = sum(int(m.is_target().sum()) for m in micro_batches)
        num_tokens = int(self.mesh.dp.reduce(local))
        scale = self.scaler.scale / max(num_tokens, 1)
        totals = Totals(self.num_sources)

        def forward(micro: MicroBatch, x: torch.Tensor | None) -> torch.Tensor:
            y = self._graphs.run(micro, scale, self._forward, self._descend) if self._graphs is not None else None
            return self._forward(micro, x, step) if y is None else y

        def backward(micro: MicroBatch, y: torch.Tensor) -> None:
            if not self.mesh.tp.rank:  # all tensor-parallel ranks know the same loss; one counts it
                totals.add(micro, y)
            if y.requires_grad:  # a graph has done its backward
                self._descend(y, scale)

        pipeline.run(
            micro_batches,
            self._pp,
            boundary=self.stage.boundary,
            forward=forward,
            backward=backward,
            before_last_backward=self._reducer.arm,
            spans=self.spans,
        )
        self._reducer.finish()
        self._sum_shared_gradients()
        with self.spans("backward"):  # a card has still to do it
            totals.fetch()
        with self.spans("totals"):
            totals.add_up()
        return totals.reduce(self.mesh.world)

    def _forward(self, micro: MicroBatch, x: torch.Tensor | None = None, step: int = 0) -> torch.Tensor:
        key = DropoutKey(seed=self.seed, step=step, rows=micro.rows) if self.config.dropout else None
        return self.stage.forward(micro, x, key)

    def _descend(self, y: torch.Tensor, scale: float | torch.Tensor) -> None:
        loss = y[0].sum() + self.config.z_loss * y[1].sum() if self.config.z_loss else y[0].sum()
        (loss * scale).backward()  # type: ignore[no-untyped-call]

    def _sum_shared_gradients(self) -> None:
        """Sum what several ranks hold a part of: the tied embedding of the outer stages, norms applied to own heads."""
        if self.plan.is_tied_apart and (self.mesh.is_first_stage or self.mesh.is_last_stage):
            grad = self.flat.grad("embed.weight")
            other = self._pp.size - 1 - self._pp.rank
            mine = grad.clone()
            sending = self._pp.isend(mine, other, _TIED)
            grad += self._pp.recv(grad, other, _TIED)
            sending.wait()
        for name in self.plan.partial():
            self._tp.all_reduce_(self.flat.grad(name))

    def grad_norm(self) -> float:
        """Euclidean norm of the whole model's gradient, loss scale removed; each parameter counted once.

        inf or nan when any rank's copy of any gradient is.
        """
        counted, others = 0.0, 0.0
        squares = tensor_sums_squares([self.flat.grad(name) for name in self.plan.names])
        for name, square in zip(self.plan.names, squares):
            if self.plan.is_counted(name):
                counted += square
            else:
                others += square
        total = np.array([counted if math.isfinite(others) else math.nan])
        self.mesh.tp.allreduce_(total)
        self.mesh.pp.allreduce_(total)
        return math.sqrt(total[0]) / self.scaler.scale if math.isfinite(total[0]) else float(total[0])

    def has_finite_moments(self) -> bool:
        """Whether this rank's optimizer state is finite: a step made of one that is not would reach the weights.

        Cost: one pass over 8 bytes a parameter.
        """
        return all(map(math.isfinite, tensor_sums_squares(self._update.moments())))

    def damaged(self) -> str | None:
        """Name of a weight or moment that is not finite on some rank; None when all are. Every rank must call it."""
        found = next(
            (
                prefix + name
                for prefix, part in self._parts()
                for name in self.plan.names
                if (mine := part(name)) is not None and not math.isfinite(tensor_sum_squares(mine))
            ),
            None,
        )
        return next((name for name in self.mesh.world.allgather(found) if name), None)

    def update(self, *, lr: float, grad_norm: float) -> None:
        """Clip by `grad_norm` and do one step of the optimizer, which uses up the gradients."""
        scale = clip_coefficient(grad_norm, self.optim.clip_norm) / self.scaler.scale
        self._update.step(lr=lr, grad_scale=scale)
        if self._ema is not None:
            halves = self.flat.num_halves
            self._ema[halves:].lerp_(self.flat.weights, 1.0 - self.ema_decay)
            if halves:
                self._ema[:halves].lerp_(self.flat.halves.float(), 1.0 - self.ema_decay)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Within the block the model has the averaged weights (of `ema_decay`); costs a copy of the weights.

        bf16 matrices hold them rounded to nearest, as products in bf16 see them.
        """
        assert self._ema is not None, "no average is kept"
        flat, halves = self.flat, self.flat.num_halves
        live = flat.weights.clone(), flat.halves.clone()
        flat.weights.copy_(self._ema[halves:])
        flat.halves.copy_(self._ema[:halves])
        try:
            yield
        finally:
            flat.weights.copy_(live[0])
            flat.halves.copy_(live[1])

    @torch.no_grad()
    def evaluate(self, micro_batches: Sequence[MicroBatch]) -> Sums:
        """Totals over all replicas' micro-batches, without dropout."""
        totals = Totals(self.num_sources)

        def forward(micro: MicroBatch, x: torch.Tensor | None) -> torch.Tensor:
            y = self.stage.forward(micro, x, None)
            if self.mesh.is_last_stage and not self.mesh.tp.rank:
                totals.add(micro, y)
            return y

        pipeline.run(micro_batches, self._pp, boundary=self.stage.boundary, forward=forward)
        totals.add_up()
        return totals.reduce(self.mesh.world)

    # ---- state by global names

    def state_names(self) -> list[str]:
        """Names of every tensor of a checkpoint: weights, `optim.m.*`, `optim.v.*` where AdamW updates, and `ema.*`."""
        return [
            prefix + name
            for prefix, _ in self._parts()
            for name, shape in self.plan.shapes.items()
            if prefix != "optim.v." or not is_muons(self.optim, name, shape)
        ]

    def gather(self) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield (global name, whole tensor on the CPU) of this rank's share; over all ranks each name comes once.

        Every rank must run it to the end. Whole tensors exist one at a time; weights may alias the live ones.
        """
        if self.mesh.dp.rank:
            return
        for prefix, part in self._parts():
            for name in self.plan.names:
                mine = part(name)
                whole = None if mine is None else self._gather_one(name, mine)
                if whole is not None and not (name == "embed.weight" and not self.mesh.is_first_stage):
                    yield prefix + name, whole

    def _gather_one(self, name: str, mine: torch.Tensor) -> torch.Tensor | None:
        """The whole tensor on tensor-parallel rank 0, None on the others."""
        cut = self.plan.cut(name)
        if cut.dim is None:
            return mine.detach().cpu() if self.mesh.tp.rank == 0 else None
        if self.mesh.tp.rank:
            self._tp.isend(mine, 0, 0).wait()
            return None
        slices = [mine.detach().cpu()]
        for rank in range(1, self.mesh.tp.size):
            shape = list(cut.shape)
            shape[cut.dim] = len(self.plan.cut(name, rank).kept)
            slices.append(self._tp.recv(torch.empty(shape, dtype=mine.dtype), rank, 0))
        return torch.cat(slices, cut.dim)

    def load(self, tensors: Mapping[str, torch.Tensor], *, optimizer_steps: int | None) -> None:
        """Take this rank's slices of whole tensors under their global names, whatever layout wrote them.

        Args:
            optimizer_steps: optimizer steps done so far; None: weights only, the optimizer starts afresh. An average of
                the weights starts afresh then too, and where `tensors` holds none.
        Raises: KeyError, ValueError: a tensor is missing or has another shape.
        """
        for prefix, part in self._parts():
            if prefix and optimizer_steps is None:
                break
            if prefix == EMA and EMA + "norm.weight" not in tensors:
                break
            for name in self.plan.names:
                mine = part(name)
                if mine is None:
                    continue
                whole = tensors[prefix + name]
                if tuple(whole.shape) != self.plan.shapes[name]:
                    raise ValueError(
                        f"load: {prefix + name} must have shape {self.plan.shapes[name]}, got {tuple(whole.shape)}; "
                        "the checkpoint is of another model"
                    )
                mine.copy_(self.plan.cut(name).of(whole))
        if self._ema is not None and (optimizer_steps is None or EMA + "norm.weight" not in tensors):
            self._ema.copy_(self.flat.exact())
        self._update.restart(optimizer_steps)

    @property
    def optimizer_steps(self) -> int:
        """Optimizer steps done; skipped ones do not count."""
        return self._update.steps

    def _parts(self) -> list[tuple[str, Callable[[str], torch.Tensor | None]]]:
        """(prefix, name -> this rank's part, a view) of weights, of both moments and of the average; None: no such."""
        spans, ema = self.flat.spans, self._ema
        parts: list[tuple[str, Callable[[str], torch.Tensor | None]]] = [
            ("", self.flat.weight),
            ("optim.m.", self._update.m_of),
            ("optim.v.", self._update.v_of),
        ]
        return parts if ema is None else [*parts, (EMA, lambda name: spans[name].of(ema))]
