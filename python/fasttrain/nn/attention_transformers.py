"""fasttrain.attention as an implementation that transformers accepts by name.

    import fasttrain
    fasttrain.register_attention()
    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="fasttrain")

Masks are ranges of keys, (B, 1, Tq, 2) int32, made once a forward and not once a layer; a plain causal one with padding
costs O(B T). What no range can say (holes in a mask, position biases, dropout) is refused.
"""

from typing import Any

import torch
from torch import Tensor

from fasttrain.nn.attention import attention

NAME = "fasttrain"


def register_attention(name: str = NAME) -> None:
    """Make transformers know `attn_implementation=name`, with its masks. Raises ImportError without transformers."""
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(name, attention_forward)
    AttentionMaskInterface.register(name, ranges_mask)


def attention_forward(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **keys: Any,
) -> tuple[Tensor, None]:
    """What transformers calls: query (B, H, Tq, D), key and value (B, Hkv, Tk, D) -> (out (B, Tq, H, D), None)."""
    for name in ("position_bias", "cache", "s_aux"):
        if keys.get(name) is not None:
            raise ValueError(f"attention: transformers' {name} must be None, got one; use attn_implementation='eager'")
    if dropout:
        raise ValueError(
            f"attention: dropout must be 0, got {dropout}; set attention_dropout (attn_pdrop) to 0 in its config"
        )
    q, k, v = (x.transpose(1, 2) for x in (query, key, value))
    if attention_mask is not None:
        ranges = attention_mask if attention_mask.dtype == torch.int32 else dense_ranges(attention_mask)
        lo_hi = (ranges[:, 0, :, 0], ranges[:, 0, :, 1])
        return attention(q, k, v, causal=False, ranges=lo_hi, softcap=softcap, scale=scaling), None
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    return attention(q, k, v, causal=causal, window=sliding_window, softcap=softcap, scale=scaling), None


def ranges_mask(
    batch_size: int,
    q_length: int,
    kv_length: int,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    mask_function: Any = None,
    attention_mask: Tensor | None = None,
    **keys: Any,
) -> Tensor | None:
    """What each query sees: (B, 1, Tq, 2) int32, lo and hi; None for a causal mask that ends with the last key."""
    from transformers.masking_utils import causal_mask_function, prepare_padding_mask, sdpa_mask

    if mask_function is not causal_mask_function:
        keys.update(allow_is_causal_skip=False, allow_is_bidirectional_skip=False)
        where: dict[str, Any] = {"q_offset": q_offset, "kv_offset": kv_offset, "attention_mask": attention_mask}
        return dense_ranges(sdpa_mask(batch_size, q_length, kv_length, mask_function=mask_function, **where, **keys))
    real = prepare_padding_mask(attention_mask, kv_length, kv_offset)
    if real is None and isinstance(q_offset, int) and q_offset + q_length == kv_offset + kv_length:
        return None
    place = torch.arange(q_length, device=keys.get("device")) + (q_offset - kv_offset)
    hi = place.expand(batch_size, q_length) + 1
    lo = torch.zeros_like(hi)
    if real is not None:
        first, behind = _run(real[:, kv_offset : kv_offset + kv_length])
        lo, hi = first[:, None].expand_as(hi), torch.minimum(hi, behind[:, None])
    return _ranges(lo, hi)


def dense_ranges(mask: Tensor) -> Tensor:
    """The ranges of a (B or 1, 1, Tq, Tk) bool mask. Raises TypeError, ValueError: heads differ, or a row has holes."""
    if mask.dtype != torch.bool:
        raise TypeError(f"attention: a mask of transformers must have dtype bool, got {mask.dtype}")
    if mask.ndim != 4 or mask.shape[1] != 1:
        raise ValueError(f"attention: a mask must have shape (B, 1, Tq, Tk), got {tuple(mask.shape)}")
    return _ranges(*_run(mask[:, 0]))


def _run(seen: Tensor) -> tuple[Tensor, Tensor]:
    """First of the True values along the last dim, and the place behind their last; they must be one run."""
    if not seen.shape[-1]:
        none = torch.zeros(seen.shape[:-1], dtype=torch.int64, device=seen.device)
        return none, none
    count = seen.sum(-1)
    first = seen.int().argmax(-1)
    behind = torch.where(count > 0, seen.shape[-1] - seen.flip(-1).int().argmax(-1), first)
    whole = (behind - first == count).all()
    if torch.compiler.is_compiling():
        torch._assert_async(whole, "attention: the keys that a query sees must be one run")
    elif not whole:
        raise ValueError("attention: the keys that a query sees must be one run, got a mask with holes; use 'sdpa'")
    return first, behind


def _ranges(lo: Tensor, hi: Tensor) -> Tensor:
    return torch.stack((lo, torch.maximum(lo, hi)), -1).to(torch.int32)[:, None]
