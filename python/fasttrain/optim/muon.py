"""Muon: momentum whose update is made orthogonal by Newton-Schulz, for matrices; everything else is AdamW's.

Source: Jordan 2024 (kellerjordan.github.io/posts/muon); scale and decay of Moonlight, arXiv:2502.16982, with which
learning rates and weight decay of AdamW carry over.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from fasttrain.optim.clip import global_norm
from fasttrain.optim.muon_ref import EPS, STEPS, A, B, C, scale


@torch.no_grad()
def orthogonalize(x: Tensor, *, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    """Return the singular vectors of x (n, m) with singular values between about 0.7 and 1.2, where they were not tiny.

    Newton-Schulz, five steps of a quintic: no decomposition, only matrix products, in `dtype`, each of the 15 of at
    most n m min(n, m) multiply-adds. A matrix of zeros stays one.
    """
    is_tall = x.shape[0] > x.shape[1]
    y: Tensor = (x / max(global_norm([x]), EPS)).to(dtype)  # a norm whose bits do not depend on threads
    y = y.mT.contiguous() if is_tall else y  # the smaller of the two Gram matrices
    for _ in range(STEPS):
        gram = y @ y.mT
        y = torch.addmm(y, torch.addmm(gram, gram, gram, beta=B, alpha=C), y, beta=A)
    return y.mT if is_tall else y


class Muon(torch.optim.Optimizer):
    """Muon on fp32 matrices, with Nesterov momentum and decoupled decay; its state is named as torch.optim.Muon's.

    The update of a matrix (n, m) is 0.2 sqrt(max(n, m)) times an orthogonal one: the root mean square of AdamW's.
    Give embeddings, output matrices and vectors to AdamW.
    Args:
        params: parameters or groups, as for torch.optim. Groups may set lr, momentum, weight_decay.
        dtype: of the matrix products; bf16 is enough (Jordan 2024).
    Raises: ValueError: a parameter that is no matrix, a rate out of range. TypeError: another dtype than fp32.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 3e-4,
        momentum: float = 0.95,
        weight_decay: float = 0.1,
        *,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        if not (lr >= 0.0 and weight_decay >= 0.0 and 0.0 <= momentum < 1.0):
            raise ValueError(
                "Muon: lr and weight_decay must be at least 0 and momentum lie in [0, 1), "
                f"got {lr}, {weight_decay} and {momentum}"
            )
        self._dtype = dtype
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does, after a look at its parameters."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1]["params"]:
            if p.ndim != 2:
                raise ValueError(f"Muon: parameters must be matrices, got shape {tuple(p.shape)}; give it to AdamW")
            if p.dtype != torch.float32:
                raise TypeError(f"Muon: parameters must be float32, got {p.dtype}")

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], float] | None = None, *, grad_scale: float = 1.0, zero_grad: bool = False
    ) -> float | None:
        """Update every matrix that has a gradient, first multiplied by `grad_scale`, and set to 0 with `zero_grad`."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            lr, momentum, decay = float(group["lr"]), group["momentum"], group["weight_decay"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"], state["step"] = torch.zeros_like(p), 0
                state["step"] += 1
                grad, buffer = p.grad * grad_scale, state["momentum_buffer"]
                buffer.lerp_(grad, 1.0 - momentum)
                update = orthogonalize(grad.lerp_(buffer, momentum), dtype=self._dtype)
                p.mul_(1.0 - lr * decay).add_(update, alpha=-lr * scale(p.shape))
                if zero_grad:
                    p.grad = p.grad.zero_() if p.grad.is_contiguous() else torch.zeros_like(p)
        return loss
