"""The three matrix products of linear + cross-entropy by torch, for a chunk of tokens at a time.

    logits (N,V) = x weight^T          dx (N,C) = dlogits weight          dweight (V,C) += dlogits^T x

Products run in x's dtype. A weight of another dtype (autocast: fp32 under bf16) is never copied whole: a tile of words
is cast when it is multiplied. dweight is added up in fp32. Where its own dtype is bf16, the upper 16 bits of each sum
lie in the gradient and the lower 16 beside it, until `finish` rounds them: exact sums, and no second array of fp32.

Products in bf16 are rounded once a chunk, or once a tile, before they are added up.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fasttrain.core import backend, pages
from fasttrain.nn.arrays import array

TILE_BYTES = 4 << 20  # of words that are cast, or whose gradients go to the sums before they leave the cache


class Products:
    """The products of one weight, and the scratch that they share."""

    def __init__(self, x: Tensor, weight: Tensor, impl: str) -> None:
        """x (.., C) names the dtype of the products; weight (V, C); impl: a native name of linear_cross_entropy."""
        self._weight, self._impl, self._threads = weight, impl, torch.get_num_threads()
        C, self._is_bf16 = weight.shape[1], x.dtype == torch.bfloat16
        self._is_cast = weight.dtype != x.dtype
        height = min(len(weight), max(1, TILE_BYTES // max(1, C * x.element_size())))
        self._tile = pages.new_empty(x, (height if self._is_cast or self._is_bf16 else 0, C))

    def logits(self, chunk: Tensor, out: Tensor) -> None:
        """out (N,V) = chunk weight^T."""
        if not self._is_cast:
            torch.mm(chunk, self._weight.t(), out=out)
            return
        for words in slices(len(self._weight), len(self._tile)):
            torch.mm(chunk, self._words(words).t(), out=out[:, words])

    def dx(self, dlogits: Tensor, out: Tensor) -> None:
        """out (N,C) = dlogits weight."""
        if not self._is_cast:
            torch.mm(dlogits, self._weight, out=out)
            return
        sums = torch.empty_like(out, dtype=torch.float32) if self._is_bf16 else out
        part = torch.empty_like(out)
        for words in slices(len(self._weight), len(self._tile)):
            torch.mm(dlogits[:, words], self._words(words), out=part)
            self._accumulate(part, sums, None, words.start > 0)
        if self._is_bf16:
            out.copy_(sums)

    def add_dweight(self, dlogits: Tensor, chunk: Tensor, sums: Tensor, lower: Tensor | None, keep: bool) -> None:
        """sums (V,C) = or (keep) += dlogits^T chunk; lower (V,C): the lower halves where sums hold the upper ones."""
        if not self._is_bf16 and lower is None:
            torch.addmm(sums, dlogits.t(), chunk, beta=1 if keep else 0, out=sums)
            return
        for words in slices(len(sums), len(self._tile)):
            part = self._tile[: words.stop - words.start]
            torch.mm(dlogits[:, words].t(), chunk, out=part)
            self._accumulate(part, sums[words], None if lower is None else lower[words], keep)

    def _words(self, words: slice) -> Tensor:
        """The weight of a tile of words, in the dtype of the products."""
        return (
            self._tile[: words.stop - words.start].copy_(self._weight[words]) if self._is_cast else self._weight[words]
        )

    def _accumulate(self, part: Tensor, sums: Tensor, lower: Tensor | None, keep: bool) -> None:
        halves = None if lower is None else array(lower)
        backend.native("accumulate")(array(part), array(sums), halves, keep, self._threads, self._impl)


def new_sums(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Room for dweight's sums (V,C), not filled: (fp32, nothing) or, of a bf16 weight, (upper halves, lower halves)."""
    shape = weight.shape if weight.dtype == torch.bfloat16 else (0, 0)
    return pages.new_empty(weight, weight.shape), weight.new_empty(shape, dtype=torch.uint16)


def finish(dweight: Tensor, lower: Tensor, scale: float, impl: str) -> None:
    """Make sums the gradient times `scale`, in place; halves become bf16, rounded once."""
    if lower.numel():
        backend.native("join")(array(dweight), array(lower), scale, torch.get_num_threads(), impl)
    elif scale != 1.0:
        dweight.mul_(scale)


def slices(total: int, step: int) -> Iterator[slice]:
    """[0, total) in pieces of `step`, the last one shorter."""
    return (slice(begin, min(begin + step, total)) for begin in range(0, total, step))
