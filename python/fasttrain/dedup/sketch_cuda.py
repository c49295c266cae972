"""MinHash signatures on a card, bit for bit those of `sketch`."""

import torch
from torch import Tensor

from fasttrain.core import backend, cuda
from fasttrain.dedup.sketch import NUM_HASHES, hash_family


def sketch_cuda(shingles: Tensor, offsets: Tensor, *, num_hashes: int = NUM_HASHES, seed: int = 0) -> Tensor:
    """Return (N, K) int32 whose bits are the uint32 of `sketch`: sig[n, k] = min of hash k over the shingles of set n.

    Shapes: N sets, S shingles in all, K = num_hashes.
    Args:
        shingles: (S,) int64 on a card: the bits of the uint64 that `sketch` takes.
        offsets: (N+1,) int64 there, rising from 0 to S; not checked, for that would wait for the card.
        num_hashes, seed: as for `sketch`.
    Raises: TypeError: another dtype or device. ValueError: a wrong shape.
    """
    op = "sketch"
    for name, x in (("shingles", shingles), ("offsets", offsets)):
        if x.dtype != torch.int64 or not x.is_cuda or x.device != shingles.device:
            raise TypeError(f"{op}: {name} must be int64 on one CUDA device, got {x.dtype} on {x.device}")
        if x.ndim != 1 or not x.is_contiguous():
            raise ValueError(f"{op}: {name} must be contiguous with one dim, got shape {tuple(x.shape)}")
    a, b = (torch.from_numpy(x.view("int32")).to(shingles.device) for x in hash_family(op, num_hashes, seed))
    out = torch.empty((len(offsets) - 1, num_hashes), dtype=torch.int32, device=shingles.device)
    addresses, native = cuda.pointers([shingles, offsets, a, b, out]), backend.native("sketch_cuda")
    cuda.launch(op, shingles.device, lambda stream: native(addresses, len(out), num_hashes, stream))
    return out
