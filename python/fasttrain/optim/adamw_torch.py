"""AdamW's step by torch's own operations: for a card or a build that has no compiled kernels."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from fasttrain.optim import adamw_ref


def adamw_torch_(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    *,
    step: int,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
    grad_scale: float = 1.0,
    copy: Tensor | None = None,
    zero_grad: bool = False,
    **place: Any,
) -> None:
    """Do the step of `adamw_` in place, each operation a pass over memory, rounded once as there (a card's root too).

    Args:
        param, grad, m, v: one shape, float32, on one device.
        copy: bfloat16 of param's shape; takes the new parameters.
        place: of stochastic rounding, which is not for fp32 parameters.
    Raises: TypeError: bf16 parameters, which only the compiled kernels round stochastically.
    """
    if param.dtype != torch.float32:
        raise TypeError(
            f"adamw: param must be float32 on {param.device}, where the compiled kernels do not run, got {param.dtype}"
        )
    c = adamw_ref.coefficients(step, lr, betas, eps, weight_decay, grad_scale).astype(np.float32).tolist()
    scale, one_minus_beta1, beta2, one_minus_beta2, keep, v_scale, eps_, rate = c
    g = grad * scale
    m.add_((g - m).mul_(one_minus_beta1))
    v.mul_(beta2).add_((g * g).mul_(one_minus_beta2))
    param.mul_(keep).sub_((m / v.sqrt().mul_(v_scale).add_(eps_)).mul_(rate))
    if copy is not None:
        copy.copy_(param)
    if zero_grad:
        grad.zero_()
