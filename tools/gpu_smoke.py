"""Every CUDA kernel once, on the smallest inputs that reach all its branches: what tools/gpu_check.sh gives to
compute-sanitizer, under which a kernel is hundreds of times slower."""

import torch

from fasttrain.dedup.sketch_cuda import sketch_cuda
from fasttrain.nn.attention import attention
from fasttrain.nn.attention_cuda import attention_tensor_op
from fasttrain.nn.dropout import DropoutKey, dropout
from fasttrain.nn.gelu import gelu
from fasttrain.nn.linear_cross_entropy import linear_cross_entropy
from fasttrain.nn.rms_norm import rms_norm, rms_norm_residual
from fasttrain.nn.rope import positions, rope, rope_tables
from fasttrain.nn.segments import key_ranges
from fasttrain.nn.swiglu import swiglu
from fasttrain.optim.adamw_cuda import adamw_cuda_, clip_cuda
from fasttrain.optim.muon_cuda import muon_step_cuda_

BF16, DEVICE = torch.bfloat16, torch.device("cuda")


def main() -> None:
    kernels = [False, True] if torch.cuda.get_device_capability() == (9, 0) else [False]
    for wgmma in kernels:
        for D, T in ((64, 200), (128, 331)):
            q, k, v = (torch.randn(1, T, h, D, device=DEVICE).to(BF16).requires_grad_() for h in (4, 2, 2))
            segments = (torch.arange(T, device=DEVICE) // 70).int()[None].contiguous()
            segments[:, 20:30] = -1
            for ids in (None, segments):
                lo, hi = key_ranges(T, T, causal=True, segments=ids, device=DEVICE)
                out, _ = attention_tensor_op(q, k, v, lo.contiguous(), hi.contiguous(), 0.1, wgmma)
                out.sum().backward()
                torch.cuda.synchronize()
                print(f"OK attention wgmma={wgmma} D={D} documents={ids is not None}", flush=True)
    plain = torch.randn(1, 70, 2, 48, device=DEVICE)
    attention(plain, plain, plain, impl="cuda")
    for dtype in (torch.float32, BF16):
        for C in (72, 2048):
            x, residual = (torch.randn(21, C, device=DEVICE).to(dtype).requires_grad_() for _ in range(2))
            weight = torch.ones(C, device=DEVICE, requires_grad=True)
            y, r = rms_norm_residual(x, residual, weight, 1e-5, impl="cuda")
            (y.sum() + r.sum() + rms_norm(x, weight, 1e-5, impl="cuda").sum()).backward()
        gate, up = (torch.randn(1003, device=DEVICE).to(dtype).requires_grad_() for _ in range(2))
        swiglu(gate, up, impl="cuda").sum().backward()
        dropout(gate.view(17, 59), 0.3, DropoutKey(seed=1, step=2, rows=tuple(range(17))), 0, "ffn").sum().backward()
        gelu(gate, impl="cuda").sum().backward()
        for D in (64, 66):
            turned = torch.randn(2, 5, 5, D, device=DEVICE).to(dtype).requires_grad_()
            rope(turned, *rope_tables(positions(5, device=DEVICE), D, 1e4), impl="cuda").sum().backward()
        hidden = torch.randn(5, 16, device=DEVICE).to(dtype).requires_grad_()
        words = torch.randn(20_003, 16, device=DEVICE, dtype=dtype, requires_grad=True)
        targets = torch.tensor([0, 20_002, -100, 17, 8], device=DEVICE)
        linear_cross_entropy(hidden, words, targets, z_loss=0.1, impl="cuda").backward()
    flat = [torch.rand(70_001, device=DEVICE) for _ in range(4)]
    copy = torch.empty(70_001, dtype=BF16, device=DEVICE)
    adamw_cuda_(*flat, step=1, lr=0.1, grad_scale=clip_cuda(flat[1], 1.0)[1:], copy=copy, zero_grad=True)
    adamw_cuda_(copy, *flat[1:], step=1, lr=0.1, width=1, pitch=3, zero_grad=True)
    muon_step_cuda_(copy, flat[0], keep=0.9, rate=0.1, width=1, pitch=3)
    shingles = torch.randint(0, 2**60, (3000,), device=DEVICE)
    sketch_cuda(shingles, torch.tensor([0, 0, 7, 1100, 3000], device=DEVICE))
    torch.cuda.synchronize()
    print("OK", flush=True)


if __name__ == "__main__":
    main()
