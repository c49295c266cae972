"""The optimizers of one rank, over its flat buffers, and their state by global names.

AdamW takes the flat buffer in long pieces, of a bucket of gradients at most, one pass over memory each. Muon takes the
matrices of blocks one by one, whole, and shares them out (muon.py). Replicas update alike, each everything else: the
gradient is the same on all, and so are the bits. bf16 matrices are taken one by one and rounded stochastically by draws
of (seed, step, the parameter's index in the whole model, place in the whole parameter): the same however they are cut.
"""

from typing import Any

import torch
from torch import nn

from fasttrain.core import pages
from fasttrain.core.errors import ConfigError
from fasttrain.core.precision import Precision
from fasttrain.monitor.spans import Spans
from fasttrain.optim.adamw import AdamW
from fasttrain.optim.config import OptimConfig
from fasttrain.optim.muon import muon_dtype
from fasttrain.optim.muon_work import is_muons
from fasttrain.parallel.data import FlatParameters
from fasttrain.parallel.muon import SharedMuon
from fasttrain.parallel.plan import Plan
from fasttrain.parallel.wire import Wire


class Update:
    """Optimizers and their state."""

    def __init__(
        self,
        flat: FlatParameters,
        optim: OptimConfig,
        *,
        plan: Plan,
        precision: Precision,
        seed: int = 0,
        spans: Spans | None = None,
    ) -> None:
        """Args: seed: of stochastic rounding. spans: count what Muon exchanges with other ranks.

        Raises ConfigError: Muon under width transfer.
        """
        matrices = [n for n, span in flat.spans.items() if is_muons(optim, n, span.shape)]
        scaled = [group.part for group in flat.groups if group.lr_scale != 1.0]
        if any(part.start <= flat.spans[n].start < part.stop for n in matrices for part in scaled):
            raise ConfigError(
                "optim.name: the rates of model.mup_base_dim are AdamW's, muon's scale with width is another; leave "
                'model.mup_base_dim out or set optim.name = "adamw"'
            )
        self._flat, self._plan, self._seed = flat, plan, seed
        self.m = pages.zeros((flat.size,), torch.float32, flat.device)
        self._v: list[tuple[int, torch.Tensor]] = []  # where each piece starts in the flat buffer
        self._optimizers: list[AdamW | SharedMuon] = [self._make_adamw(optim)]
        if matrices:
            wire = Wire(plan.mesh.stage, spans or Spans())
            self._optimizers.append(self._make_muon(matrices, optim, precision, wire))

    def _pieces(self, optim: OptimConfig) -> list[tuple[int, int, dict[str, Any]]]:
        """(start, stop, settings) of what AdamW updates: groups of the flat buffer, or what Muon leaves of them."""
        pieces: list[tuple[int, int, dict[str, Any]]] = []
        for group in self._flat.groups:
            decay = optim.weight_decay / group.lr_scale if group.is_decayed else 0.0
            settings = {"weight_decay": decay, "lr_scale": group.lr_scale}
            within = [(n, s) for n, s in self._flat.spans.items() if group.part.start <= s.start < group.part.stop]
            own = [(n, s) for n, s in within if not is_muons(optim, n, s.shape)]
            if group.part.stop <= self._flat.num_halves:
                for name, s in own:
                    pieces.append((s.start, s.stop, settings | {"place": self._plan.place(name)}))
                continue
            spans = [(group.part.start, group.part.stop)]
            if len(own) < len(within):
                spans = [(s.start, s.stop) for _, s in own]
            pieces += [(*part, settings) for start, stop in spans for part in self._flat.cut(start, stop)]
        return pieces

    def _parameter(self, start: int, stop: int, shape: tuple[int, ...]) -> nn.Parameter:
        if stop <= self._flat.num_halves:
            return nn.Parameter(self._flat.halves[start:stop].view(shape))
        return nn.Parameter(self._flat.part(start, stop).view(shape))

    def _make_adamw(self, optim: OptimConfig) -> AdamW:
        pieces = self._pieces(optim)
        groups: list[dict[str, Any]] = [
            {"params": [self._parameter(start, stop, (stop - start,))], "span": (start, stop), **settings}
            for start, stop, settings in pieces
        ]
        optimizer = AdamW(groups, lr=optim.lr, betas=optim.betas, eps=optim.eps, bf16="stochastic", seed=self._seed)
        sizes = [stop - start for start, stop, _ in pieces]
        self._all_v = pages.zeros((sum(sizes),), torch.float32, self._flat.device)
        parts = torch.split(self._all_v, sizes)
        for group, (start, stop, _), v in zip(groups, pieces, parts):
            self._v.append((start, v))
            state = {"exp_avg": self.m[start:stop], "exp_avg_sq": self._v[-1][1], "step": 0}
            optimizer.state[group["params"][0]] = state
        return optimizer

    def _make_muon(self, names: list[str], optim: OptimConfig, precision: Precision, wire: Wire) -> SharedMuon:
        groups: list[dict[str, Any]] = []
        for name in names:
            span = self._flat.spans[name]
            own = {"params": [self._parameter(span.start, span.stop, span.shape)], "place": self._plan.place(name)}
            groups.append(own | {"span": (span.start, span.stop)})
        optimizer = SharedMuon(
            groups,
            names,
            plan=self._plan,
            wire=wire,
            lr=optim.lr,
            momentum=optim.momentum,
            weight_decay=optim.weight_decay,
            dtype=muon_dtype(precision),
            seed=self._seed,
        )
        for group, name in zip(groups, names):
            optimizer.state[group["params"][0]] = {"momentum_buffer": self.m_of(name), "step": 0}
        return optimizer

    def step(self, *, lr: float, grad_scale: float) -> None:
        """Do one step with gradients times `grad_scale`, which are gone afterwards."""
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get("lr_scale", 1.0)
                group["grad"] = self._flat.grad_part(*group["span"]).view(group["params"][0].shape)
            optimizer.step(grad_scale=grad_scale)
            for group in optimizer.param_groups:
                del group["grad"]
        self._flat.drop_grads()

    @property
    def steps(self) -> int:
        """Steps done."""
        return max(int(state["step"]) for optimizer in self._optimizers for state in optimizer.state.values())

    def moments(self) -> list[torch.Tensor]:
        """All of its state, flat."""
        return [self.m, self._all_v]

    def restart(self, steps: int | None) -> None:
        """Count from `steps`; None: from 0, with moments of 0."""
        if steps is None:
            for moment in self.moments():
                moment.zero_()
        for optimizer in self._optimizers:
            for state in optimizer.state.values():
                state["step"] = steps or 0

    def m_of(self, name: str) -> torch.Tensor:
        """The running mean, or momentum, of a parameter, in its shape: a view."""
        return self._flat.spans[name].of(self.m)

    def v_of(self, name: str) -> torch.Tensor | None:
        """The running mean square of a parameter, a view; None where Muon keeps none."""
        span = self._flat.spans[name]
        for start, v in self._v:
            if start <= span.start and span.stop <= start + len(v):
                return v[span.start - start : span.stop - start].view(span.shape)
        return None
