"""Linear + cross-entropy in bf16 on a CPU that multiplies it: products, exponentials and sums natively, no logits.

See csrc/nn/linear_cross_entropy.h. Of a chunk of tokens `linear_loss` makes losses and dx, and keeps exponentials from
which `linear_dweight` makes dweight: 16 bits a token and word, of a chunk, are all that is stored.
"""

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.nn.arrays import array
from fasttrain.nn.linear_cross_entropy_products import slices

GROUP = 64  # tokens that are multiplied side by side; a chunk is a multiple of it


def is_fused(dtype: torch.dtype, impl: str) -> bool:
    """Whether products in `dtype` go this way."""
    return dtype == torch.bfloat16 and impl in backend.native("linear_loss_impls")()


def run_fused(
    x: Tensor,
    weight: Tensor,
    targets: Tensor,
    factors: tuple[Tensor, Tensor] | None,
    outputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    z_loss: float,
    num_rows: int,
    impl: str,
) -> None:
    """Fill (nll, z2, dx, dweight, lower) in chunks of `num_rows` tokens, dx and dweight where they are not empty.

    Shapes: x (N, C) bf16, weight (V, C) fp32 or bf16, targets (N,); the gradients of nll and z2 (N,) fp32, or None.
    """
    nll, z2, dx, dweight, lower = outputs
    (N, C), V, threads = x.shape, len(weight), torch.get_num_threads()
    grad_x, grad_weight = len(dx) > 0, len(dweight) > 0
    num_groups = -(-min(num_rows, N) // GROUP) if grad_x or grad_weight else 0
    exps = pages.empty((num_groups, (V + 1) // 2, GROUP), torch.int32).view(torch.uint32)
    size = backend.native("linear_loss_work")(min(num_rows, N), C, weight.dtype != torch.bfloat16, threads)
    work = array(torch.empty(size, dtype=torch.uint32))
    halves = array(lower) if dweight.dtype == torch.bfloat16 else None
    for rows in slices(N, num_rows):
        chunk, index = array(x[rows]), array(targets[rows])
        of_target = array(torch.empty(3, rows.stop - rows.start))
        kept = array(exps[: -(-(rows.stop - rows.start) // GROUP)]) if num_groups else None
        given = (None, None) if factors is None else tuple(array(f[rows]) for f in factors)
        losses, out = (array(nll[rows]), array(z2[rows])), array(dx[rows]) if grad_x else None
        backend.native("linear_loss")(
            chunk, array(weight), index, *given, *losses, of_target, kept, out, work, z_loss, threads, impl
        )
        if grad_weight:
            backend.native("linear_dweight")(
                kept, of_target, chunk, index, array(dweight), halves, work, rows.start > 0, threads, impl
            )
