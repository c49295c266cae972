"""Attention by its definition: every other implementation is measured against this one.

S (B,H,Tq,Tk) = scale q k^T, or c tanh(scale q k^T / c), keys outside [lo, hi) of the query removed -> P = softmax(S)
-> out (B,Tq,H,D) = P v
A query that sees no key gives 0. Query head h uses kv head h // (H / Hkv).
"""

import torch
from torch import Tensor


def attention(
    q_BTHD: Tensor,
    k_BTHD: Tensor,
    v_BTHD: Tensor,
    lo_BT: Tensor,
    hi_BT: Tensor,
    scale: float,
    softcap: float = 0.0,
) -> Tensor:
    """Computed in fp32 (fp64 stays fp64), given back in q's dtype; differentiable by autograd. softcap 0: none."""
    dtype = torch.promote_types(q_BTHD.dtype, torch.float32)
    group = q_BTHD.shape[2] // k_BTHD.shape[2]
    q = q_BTHD.to(dtype).transpose(1, 2)
    k, v = (x.to(dtype).transpose(1, 2).repeat_interleave(group, 1) for x in (k_BTHD, v_BTHD))
    seen = mask(lo_BT, hi_BT, k.shape[2])[:, None]
    s = q @ k.transpose(-1, -2) * scale
    if softcap > 0:
        s = softcap * torch.tanh(s / softcap)
    s = s.masked_fill(~seen, -torch.inf)
    top = s.amax(-1, keepdim=True).clamp(min=torch.finfo(dtype).min) if s.shape[-1] else s.sum(-1, keepdim=True)
    p = (s - top).exp()
    out = p / p.sum(-1, keepdim=True).clamp(min=torch.finfo(dtype).tiny) @ v
    return out.transpose(1, 2).to(q_BTHD.dtype)


def mask(lo_BT: Tensor, hi_BT: Tensor, num_keys: int) -> Tensor:
    """(B or 1, Tq, Tk) bool: which keys each query sees."""
    j = torch.arange(num_keys, device=lo_BT.device)
    return (j >= lo_BT[..., None]) & (j < hi_BT[..., None])
