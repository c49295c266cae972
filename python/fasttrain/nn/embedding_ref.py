"""An embedding's gradient by its definition: every other implementation must add in the same order."""

import torch
from torch import Tensor


def embedding_backward(dout_NC: Tensor, ids_N: Tensor, num_words: int) -> Tensor:
    """dweight (V, C): the sum of the rows of dout whose id it is, in the order of tokens, in fp32 (fp64 stays fp64)."""
    dtype = torch.promote_types(dout_NC.dtype, torch.float32)
    sums: list[Tensor | None] = [None] * num_words
    for i, row in zip(ids_N.tolist(), dout_NC.to(dtype)):
        before = sums[i]
        sums[i] = row if before is None else before + row
    dweight = torch.zeros((num_words, dout_NC.shape[1]), dtype=dtype)
    for word, total in enumerate(sums):
        if total is not None:
            dweight[word] = total
    return dweight.to(dout_NC.dtype)
