"""AdamW's step as a torch operator that changes its arguments, so that torch.compile sees through it."""

from torch import Tensor

from fasttrain.core.operator import operator
from fasttrain.optim.adamw import adamw_
from fasttrain.optim.clip import torch_threads
from fasttrain.optim.stochastic import flat


@operator("fasttrain::adamw_", changes=("param", "grad", "m", "v", "copy"))
def adamw_op(
    param: Tensor,
    grad: Tensor,
    m: Tensor,
    v: Tensor,
    copy: Tensor | None,
    step: int,
    lr: float,
    beta1: float,
    beta2: float,
    eps: float,
    weight_decay: float,
    grad_scale: float,
    zero_grad: bool,
    seed: int,
    stream: int,
    impl: str,
) -> None:
    """Do the step of `adamw_` on contiguous CPU tensors of one size: param and grad fp32 or bf16, m and v fp32, a copy
    of fp32 parameters in bf16 or None. Without `zero_grad` the gradient is left as it is."""
    adamw_(
        *(flat(x) for x in (param, grad, m, v)),
        copy=None if copy is None else flat(copy),
        step=step,
        lr=lr,
        betas=(beta1, beta2),
        eps=eps,
        weight_decay=weight_decay,
        grad_scale=grad_scale,
        zero_grad=zero_grad,
        seed=seed,
        stream=stream,
        threads=torch_threads(),
        impl=impl,
    )


adamw_op.register_fake(lambda *_: None)
