"""The CUDA kernels against torch's on the same card: one row a workload, a table last.

Usage: python benchmarks/cuda_table.py [--out FILE.json] [SECTION ...]    (all sections when none is named)

Times are the card's alone: medians of CUDA events around single calls, queued ahead, after warm-up, in turn with the
rival's; answers are compared first.
Memory-bound work counts the bytes that must move, against a device-to-device copy of this run; attention counts
4 B H Tq Tk D (half of it when causal), backward 2.5 times that.
"""

import argparse
import json
import statistics
import subprocess
import time
from functools import partial

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from fasttrain.dedup.sketch_cuda import sketch_cuda
from fasttrain.nn import linear_cross_entropy_cuda
from fasttrain.nn.attention_cuda import attention_tensor_op
from fasttrain.nn.gelu import gelu
from fasttrain.nn.linear_cross_entropy import linear_cross_entropy
from fasttrain.nn.rms_norm import rms_norm_residual
from fasttrain.nn.rope import positions, rope, rope_tables
from fasttrain.nn.segments import key_ranges
from fasttrain.nn.swiglu import swiglu
from fasttrain.optim.adamw_cuda import adamw_cuda_, clip_cuda, sum_squares_cuda

ROWS = []
COPY = [0.0]
BF16 = torch.bfloat16


def milliseconds(*calls, rounds=15):
    """Medians of each call, run in turn."""
    times = [[] for _ in calls]
    for n in range(rounds + 3):
        for call, mine in zip(calls, times):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda._sleep(1_000_000)  # half a millisecond: the call is queued before the card gets to it
            start.record()
            call()
            end.record()
            end.synchronize()
            if n >= 3:
                mine.append(start.elapsed_time(end))
    return [statistics.median(mine) for mine in times]


def row(what, who, ms, amount, unit, note=""):
    rate = amount / ms * 1e3
    share = f"{100 * rate / COPY[0]:.0f} % of copy" if unit == "GB/s" and COPY[0] else ""
    ROWS.append({"what": what, "who": who, "ms": ms, "rate": rate, "unit": unit, "note": note or share})
    print(f"{what:52s} {who:24s} {ms:9.3f} ms {rate:9.1f} {unit} {note or share}", flush=True)


def near(got, expected, what, bound=0.02):
    for x, y in zip(got, expected, strict=True):
        off = ((x.double() - y.double()).norm() / y.double().norm()).item()
        assert off <= bound, f"{what}: {off}"


def ceilings():
    x = torch.randn(1 << 29, device="cuda")
    y = torch.empty_like(x)
    (ms,) = milliseconds(lambda: y.copy_(x))
    COPY[0] = 2 * 4 * x.numel() / 1e9 / ms * 1e3
    row("copy, device to device, 2 x 2.1 GB", "torch", ms, 2 * 4 * x.numel() / 1e9, "GB/s")
    a, b = (torch.randn(8192, 8192, device="cuda").to(BF16) for _ in range(2))
    (ms,) = milliseconds(lambda: a @ b)
    row("bf16 product 8192^3", "torch", ms, 2 * 8192**3 / 1e12, "TFLOP/s")


def torch_norm(x, residual, weight):
    r = x + residual
    return F.rms_norm(r, weight.shape, weight, 1e-5), r


def rms_norm():
    for C in (768, 4096):
        rms_norm_of((1 << 28) // C, C)
        torch._dynamo.reset()


def rms_norm_of(N, C):
    leaves = [torch.randn(N, C, device="cuda").to(BF16).requires_grad_() for _ in range(2)]
    leaves.append((1 + 0.1 * torch.randn(C, device="cuda")).to(BF16).requires_grad_())
    gradients = [torch.randn(N, C, device="cuda").to(BF16) for _ in range(2)]
    norms = {
        "ours": partial(rms_norm_residual, *leaves, 1e-5, impl="cuda"),
        "torch": partial(torch_norm, *leaves),
        "torch.compile": partial(torch.compile(torch_norm), *leaves),
    }
    compare_and_time(f"RMSNorm of a sum {{}} ({N}, {C}) bf16", norms, leaves, gradients, (4, 4), N * C * 2 / 1e9)


def compare_and_time(what, calls, leaves, gradients, passes, data):
    """Forward and backward; `passes` over memory of `data` gigabytes each must be made."""
    backs = {}
    for who, call in calls.items():
        backs[who] = partial(torch.autograd.grad, flat(call()), leaves, gradients, retain_graph=True)
        near(backs["ours"](), backs[who](), what)
    with torch.no_grad():
        near(flat(calls["ours"]()), flat(calls["torch"]()), what)
        for who, ms in zip(calls, milliseconds(*calls.values())):
            row(what.format("forward"), who, ms, passes[0] * data, "GB/s")
    for who, ms in zip(backs, milliseconds(*backs.values())):
        row(what.format("backward"), who, ms, passes[1] * data, "GB/s")


def flat(outputs):
    return outputs if isinstance(outputs, tuple) else (outputs,)


def torch_swiglu(gate, up):
    return F.silu(gate) * up


def gated():
    N = 1 << 28
    gate, up, dout = (torch.randn(N, device="cuda").to(BF16) for _ in range(3))
    leaves = [gate.requires_grad_(), up.requires_grad_()]
    calls = {
        "ours": partial(swiglu, *leaves, impl="cuda"),
        "torch": partial(torch_swiglu, *leaves),
        "torch.compile": partial(torch.compile(torch_swiglu), *leaves),
    }
    compare_and_time(f"SwiGLU {{}} {N} bf16", calls, leaves, [dout], (3, 5), N * 2 / 1e9)


def torch_gelu(x):
    return F.gelu(x, approximate="tanh")


def activation():
    N = 1 << 28
    x, dout = (torch.randn(N, device="cuda").to(BF16) for _ in range(2))
    leaves = [x.requires_grad_()]
    calls = {
        "ours": partial(gelu, *leaves, impl="cuda"),
        "torch": partial(torch_gelu, *leaves),
        "torch.compile": partial(torch.compile(torch_gelu), *leaves),
    }
    compare_and_time(f"GELU {{}} {N} bf16", calls, leaves, [dout], (2, 3), N * 2 / 1e9)


def turned(x, cos, sin):
    first, second = x.float().chunk(2, -1)
    return (x.float() * cos + torch.cat((-second, first), -1) * sin).to(x.dtype)


def rotary():
    for H, D in ((12, 64), (32, 128)):
        B, T = (1 << 28) // (H * D * 1024), 1024
        x, dout = (torch.randn(B, T, H, D, device="cuda").to(BF16) for _ in range(2))
        tables = rope_tables(positions(T, device=x.device), D, 1e4)
        leaves = [x.requires_grad_()]
        calls = {
            "ours": partial(rope, *leaves, *tables, impl="cuda"),
            "torch": partial(turned, *leaves, *tables),
            "torch.compile": partial(torch.compile(turned), *leaves, *tables),
        }
        what = f"RoPE {{}} {B}x{T}, {H} heads of {D}, bf16"
        compare_and_time(what, calls, leaves, [dout], (2, 2), x.numel() * 2 / 1e9)
        torch._dynamo.reset()


def torch_loss(x, weight, targets):
    with torch.autocast("cuda", BF16):
        logits = F.linear(x, weight)
    return F.cross_entropy(logits.float(), targets)


def our_loss(x, weight, targets, logits_bytes=linear_cross_entropy_cuda.LOGITS_BYTES):
    before, linear_cross_entropy_cuda.LOGITS_BYTES = linear_cross_entropy_cuda.LOGITS_BYTES, logits_bytes
    try:
        with torch.autocast("cuda", BF16):
            return linear_cross_entropy(x, weight, targets, impl="cuda")
    finally:
        linear_cross_entropy_cuda.LOGITS_BYTES = before


def loss():
    for N, C, V in ((32768, 768, 50304), (16384, 4096, 128256)):
        loss_of(N, C, V)
        torch._dynamo.reset()
        torch.cuda.empty_cache()


def loss_of(N, C, V):
    x = torch.randn(N, C, device="cuda").to(BF16).requires_grad_()
    weight = (torch.randn(V, C, device="cuda") / C**0.5).requires_grad_()
    targets = torch.randint(V, (N,), device="cuda")
    calls = {"ours": our_loss, "torch": torch_loss, "torch.compile": torch.compile(torch_loss)}
    for mib in (256, 512, 2048):
        calls[f"ours, {mib} MiB of logits"] = partial(our_loss, logits_bytes=mib << 20)

    def step(call):
        value = call(x, weight, targets)
        return value, *torch.autograd.grad(value, (x, weight))

    what, expected, peaks = f"linear + cross-entropy {N} tokens, {C} wide, {V} words", step(our_loss), []
    for who, call in calls.items():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        near(step(call), expected, f"{what}, {who}")
        peaks.append((torch.cuda.max_memory_allocated() - before) / 2**30)
    times = milliseconds(*(partial(step, call) for call in calls.values()))
    for who, ms, peak in zip(calls, times, peaks):
        row(what + ", both ways", who, ms, 6 * N * C * V / 1e12, "TFLOP/s", f"{peak:.2f} GiB beyond its inputs")
    with torch.no_grad():
        for who, ms in zip(calls, milliseconds(*(partial(call, x, weight, targets) for call in calls.values()))):
            row(what + ", no gradient", who, ms, 2 * N * C * V / 1e12, "TFLOP/s")


def adamw():
    N = 250_000_000
    param, grad, m = (torch.randn(N, device="cuda") for _ in range(3))
    v, copy = torch.rand(N, device="cuda"), torch.empty(N, dtype=BF16, device="cuda")
    p = torch.nn.Parameter(param.clone())
    p.grad = grad
    theirs = torch.optim.AdamW([p], lr=1e-3, fused=True)
    settings = {"step": 3, "lr": 1e-3}
    calls = [
        lambda: adamw_cuda_(param, grad, m, v, **settings),
        lambda: theirs.step(),
        lambda: adamw_cuda_(param, grad, m, v, **settings, grad_scale=clip_cuda(grad, 1.0)[1:]),
        lambda: (torch.nn.utils.clip_grad_norm_([p], 1.0), theirs.step()),
    ]
    names = ["ours", "torch fused", "ours, clipped", "torch, clipped"]
    for who, ms, size in zip(names, milliseconds(*calls), (28, 28, 32, 40)):
        row(f"AdamW, {N} fp32", who, ms, size * N / 1e9, "GB/s")
    (ms,) = milliseconds(lambda: adamw_cuda_(param, grad, m, v, **settings, copy=copy, zero_grad=True))
    row(f"AdamW, {N} fp32, bf16 copy and zeros in one pass", "ours", ms, 34 * N / 1e9, "GB/s")
    grad.normal_()
    ours, torchs = milliseconds(lambda: clip_cuda(grad, 1.0), lambda: torch.linalg.vector_norm(grad))
    row(f"norm of {N} fp32 (ours in fp64, the CPU's bits)", "ours", ours, 4 * N / 1e9, "GB/s")
    row(f"norm of {N} fp32 (ours in fp64, the CPU's bits)", "torch", torchs, 4 * N / 1e9, "GB/s")
    many = list(grad[:121_000_000].split(1_100_000))
    ours, torchs = milliseconds(lambda: sum_squares_cuda(many), lambda: torch._foreach_norm(many))
    row("norms of 110 tensors of 1100000 fp32", "ours, on the host", ours, 4 * 0.121, "GB/s")
    row("norms of 110 tensors of 1100000 fp32", "torch, on the card", torchs, 4 * 0.121, "GB/s")


def with_backend(q, k, v, which, causal=True, mask=None):
    with sdpa_kernel(which):
        out = F.scaled_dot_product_attention(
            *(x.transpose(1, 2) for x in (q, k, v)), attn_mask=mask, is_causal=causal and mask is None,
            enable_gqa=q.shape[2] != k.shape[2],
        )  # fmt: skip
    return out.transpose(1, 2)


def attention():
    shapes = [
        (16, 1024, 16, 16, 128, None), (4, 4096, 16, 16, 128, None), (2, 8192, 16, 16, 128, None),
        (2, 8192, 32, 8, 128, None), (16, 1024, 12, 12, 64, None), (4, 4096, 32, 32, 64, None),
        (2, 8192, 16, 16, 128, 1024), (2, 8192, 16, 16, 64, 700),
    ]  # fmt: skip
    for shape in shapes:
        attention_of(*shape)


def attention_of(B, T, H, Hkv, D, document):
    q, k, v = leaves = [torch.randn(B, T, h, D, device="cuda").to(BF16).requires_grad_() for h in (H, Hkv, Hkv)]
    dout = torch.randn(B, T, H, D, device="cuda").to(BF16)
    segments, flops = None, 2.0 * B * H * T * T * D / 1e12
    if document:
        segments = (torch.arange(T, device="cuda") // document).int().expand(B, T).contiguous()
        flops *= document / T
    lo, hi = key_ranges(T, T, causal=True, segments=segments, device=q.device)
    calls = {
        "ours, wgmma": lambda: attention_tensor_op(q, k, v, lo, hi, D**-0.5, True)[0],
        "ours, mma": lambda: attention_tensor_op(q, k, v, lo, hi, D**-0.5, False)[0],
    }
    if document:
        j = torch.arange(T, device="cuda")
        mask = ((j >= lo[0, :, None]) & (j < hi[0, :, None]))[None, None]
        calls["torch, mask"] = partial(with_backend, q, k, v, SDPBackend.EFFICIENT_ATTENTION, mask=mask)
    else:
        calls["torch flash"] = partial(with_backend, q, k, v, SDPBackend.FLASH_ATTENTION)
        calls["torch cuDNN"] = partial(with_backend, q, k, v, SDPBackend.CUDNN_ATTENTION)
    what = f"attention {B}x{T}, {H}/{Hkv} heads of {D}, causal" + (f", documents of {document}" if document else "")
    outs = {who: call() for who, call in calls.items()}
    back = {who: partial(torch.autograd.grad, out, leaves, dout, retain_graph=True) for who, out in outs.items()}
    for who, out in outs.items():
        near((out, *back[who]()), (outs["ours, wgmma"], *back["ours, wgmma"]()), f"{what}, {who}")
    with torch.no_grad():
        for who, ms in zip(calls, milliseconds(*calls.values())):
            row(f"{what}, forward", who, ms, flops, "TFLOP/s")
    for who, ms in zip(back, milliseconds(*back.values())):
        row(f"{what}, backward", who, ms, 2.5 * flops, "TFLOP/s")
    if "torch flash" in back:
        torch.use_deterministic_algorithms(True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        (ms,) = milliseconds(back["torch flash"])
        torch.use_deterministic_algorithms(False)
        row(f"{what}, backward", "torch flash, repeatable", ms, 2.5 * flops, "TFLOP/s")


def sketch():
    sets, size, K = 200_000, 500, 112
    shingles = torch.randint(-(2**63), 2**63 - 1, (sets * size,), device="cuda")
    offsets = torch.arange(0, sets * size + 1, size, device="cuda")
    (ms,) = milliseconds(lambda: sketch_cuda(shingles, offsets))
    row(f"MinHash sketch, {sets} sets of {size}, {K} hashes", "ours", ms, sets * size / 1e9, "G shingles/s")


def train():
    from cuda_train import rows as train_rows

    for what, who, ms, tokens, note in train_rows():
        row(what, who, ms, tokens / 1e3, "k tokens/s", note)


SECTIONS = {
    "ceilings": ceilings, "rms_norm": rms_norm, "swiglu": gated, "gelu": activation, "rope": rotary, "loss": loss,
    "adamw": adamw, "attention": attention, "sketch": sketch, "train": train,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    parser.add_argument("--out", help="a file for the figures, JSON")
    options = parser.parse_args()
    torch.manual_seed(1)
    for name in options.sections or SECTIONS:
        start = time.perf_counter()
        try:
            SECTIONS[name]()
        except Exception as error:  # the other sections are still worth their time on a card
            ROWS.append({"what": name, "who": "failed", "ms": 0.0, "rate": 0.0, "unit": "", "note": str(error)[:300]})
            print(f"section {name} FAILED: {error}", flush=True)
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        print(f"# {name}: {time.perf_counter() - start:.1f} s", flush=True)
    driver = subprocess.run(
        ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "card": torch.cuda.get_device_name(),
        "driver": driver,
        "torch": torch.__version__,
        "cudnn": torch.backends.cudnn.version(),
    }
    if options.out:
        with open(options.out, "w") as file:
            json.dump({"about": about, "rows": ROWS}, file, indent=1)
    print("\n", about)
    print("| what | who | ms | rate | |\n|---|---|---|---|---|")
    for r in ROWS:
        print(f"| {r['what']} | {r['who']} | {r['ms']:.3f} | {r['rate']:.4g} {r['unit']} | {r['note']} |")


if __name__ == "__main__":
    main()
