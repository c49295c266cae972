"""Native dropout as a torch operator with a fake kernel and a gradient, which is the same operator: no mask is kept.

x (B,E) contiguous, fp32 or bf16; rows (B,) int64, contiguous: the face makes it so.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.core.operator import operator
from fasttrain.nn.arrays import array
from fasttrain.nn.dropout_ref import threshold


@operator("fasttrain::dropout")
def dropout_op(x: Tensor, rows: Tensor, seed: int, step: int, site: int, p: float, impl: str) -> Tensor:
    """Return x with its values dropped, and the kept ones divided by 1 - p. `seed` is read as 64 bits."""
    out = pages.new_empty(x, x.shape)
    backend.native("dropout")(
        array(x.contiguous()),  # a gradient may come with any strides
        array(rows),
        array(out),
        seed & 0xFFFFFFFFFFFFFFFF,
        step,
        site,
        threshold(p),
        1.0 / (1.0 - p),
        torch.get_num_threads(),
        impl,
    )
    return out


@dropout_op.register_fake
def _(x: Tensor, rows: Tensor, seed: int, step: int, site: int, p: float, impl: str) -> Tensor:
    return pages.new_empty(x, x.shape)


def _setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, rows, *ctx.settings = inputs
    ctx.save_for_backward(rows)


def _backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
    return dropout_op(dout, *ctx.saved_tensors, *ctx.settings), None, None, None, None, None, None


dropout_op.register_autograd(_backward, setup_context=_setup)
