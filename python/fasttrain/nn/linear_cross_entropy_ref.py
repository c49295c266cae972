"""Linear + cross-entropy by its definition: every other implementation is measured against this one.

logits (N,V) = x weight^T -> nll (N,) = logsumexp(logits) - logits[target], z2 (N,) = logsumexp(logits)^2
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from fasttrain.nn.loss import IGNORED


def linear_cross_entropy(x_NC: Tensor, weight_VC: Tensor, targets_N: Tensor) -> tuple[Tensor, Tensor]:
    """Return (nll, z2), 0 where the target is -100, computed in fp32 (fp64 stays fp64); differentiable by autograd."""
    dtype = torch.promote_types(x_NC.dtype, torch.float32)
    logits = F.linear(x_NC.to(dtype), weight_VC.to(dtype))
    ignored = targets_N == IGNORED
    lse = logits.logsumexp(-1)
    picked = logits.gather(1, targets_N.masked_fill(ignored, 0)[:, None])[:, 0]
    return (lse - picked).masked_fill(ignored, 0.0), lse.square().masked_fill(ignored, 0.0)
