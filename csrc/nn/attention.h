#pragma once
// Attention, forward and backward, fp32 or bf16.  B rows, Tq queries, Tk keys, H query heads, Hkv kv heads, D head dim.
//
//   S = scale q k^T, or with a softcap c tanh(scale q k^T / c);  P = softmax over the keys [lo, hi) of each query
//   out = P v;  dP = dout v^T, delta = rowsum(dout out), dS = P (dP - delta) [(1 - (S / c)^2) with a softcap]
//   dq = scale dS k, dk = scale dS^T q, dv = P^T dout
//
// q (B,Tq,H,D), k, v (B,Tk,Hkv,D) -> out (B,Tq,H,D), stats (B,H,Tq,2): max S and 1 / sum exp(S - max S), which give P
// back more exactly than their logarithm would (exp(S - lse) carries the rounding of lse into every P). In the backward
// exp takes min(S - max S, 0): P is at most 1 whatever the scores.
//
// Query head h uses kv head h / (H / Hkv). A query that sees no key gives out = 0 and stats (0, 0), and its gradients
// are 0. What is not finite stays so, and reaches only those who see it (attention_finite.h). Sums run in fp32, in an
// order that depends on shapes, ranges and implementation, not on the number of threads. avx512bf16 multiplies bf16 as
// it is (vdpbf16ps) and rounds P and dS to bf16 for the second product, as torch and FlashAttention do; every other
// implementation, and decoding steps of few queries, compute bf16 in fp32.
//
// Source: Dao 2023 (FlashAttention-2): tiles, online softmax, recomputation from stats; few queries against many keys:
// keys in splits that are merged (Flash-Decoding).
// Checked by the face: D % 16 = 0, D <= 256, H % Hkv = 0, 0 <= lo, hi <= Tk; softcap >= 0.
// Reference: fasttrain/nn/attention_ref.py.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

constexpr std::size_t attention_pad = 128;  // keys are packed in whole blocks of at most so many
constexpr std::size_t attention_max_D = 256;

// An array (B, T, heads, D) of fp32 or bf16 whose D values lie together; strides in elements.
struct Strided {
  const void* data;
  std::size_t b, t, h;
};

struct AttentionArgs {
  Strided q;               // (B, Tq, H, D)
  Strided k;               // (B, Tk, Hkv, D)
  Strided v;               // (B, Tk, Hkv, D)
  const std::int32_t* lo;  // (Bm, Tq)  Bm = B, or 1 when all rows share one mask
  const std::int32_t* hi;  // (Bm, Tq)
  void* out;               // (B, Tq, H, D)  out; in the backward an input; contiguous, as all below
  float* stats;            // (B, H, Tq, 2)  out, or null in a decoding step; in the backward an input
  Strided dout;            // (B, Tq, H, D)    backward only, as all below; any strides
  void* dq;                // (B, Tq, H, D)    out
  void* dk;                // (B, Tk, Hkv, D)  out
  void* dv;                // (B, Tk, Hkv, D)  out
  float* work;             // attention_work(...) floats of scratch
  std::size_t B, Bm, Tq, Tk, H, Hkv, D;
  float scale, softcap;  // softcap 0: none
  bool bf16;             // q, k, v, out, dout, dq, dk, dv are bf16; else fp32
  int threads;
};

using AttentionFn = void (*)(const AttentionArgs&) noexcept;

// Few queries a kv head (a decoding step) read keys and values where they lie, in splits of so many keys.
constexpr std::size_t attention_few = 32;
constexpr std::size_t attention_split = 512;
// Up to so many a kv head take their products from where keys and values lie; more take packed blocks of them.
constexpr std::size_t attention_direct = 4;

constexpr bool attention_is_decode(std::size_t Tq, std::size_t H, std::size_t Hkv) {
  return Tq * (H / Hkv) <= attention_few;
}

// Queries of a tile, and the fewest keys of a block, of every implementation.
constexpr std::size_t attention_tile = 48;
constexpr std::size_t attention_block = 64;

// Floats of scratch. Forward: keys and values of every (b, kv head) packed and a flag a block, or what each split of a
// decoding step gives (out, max S, sum). Backward: delta, where dq is not fp32 its sums, a flag a tile and how far each
// block of keys is.
constexpr std::size_t attention_work(std::size_t B, std::size_t Tq, std::size_t Tk, std::size_t H, std::size_t Hkv,
                                     std::size_t D, bool bf16, bool backward) {
  const std::size_t blocks = B * Hkv * ((Tk + attention_block - 1) / attention_block);
  const std::size_t tiles = B * H * ((Tq + attention_tile - 1) / attention_tile);
  if (backward) return B * H * Tq * (bf16 ? D + 1 : 1) + tiles + blocks;
  if (attention_is_decode(Tq, H, Hkv)) return B * H * Tq * ((Tk + attention_split - 1) / attention_split) * (D + 2);
  return 2 * B * Hkv * D * ((Tk + attention_pad - 1) / attention_pad * attention_pad) + blocks;
}

void attention_forward_scalar(const AttentionArgs&) noexcept;
void attention_forward_avx2(const AttentionArgs&) noexcept;
void attention_forward_avx512(const AttentionArgs&) noexcept;
void attention_forward_avx512bf16(const AttentionArgs&) noexcept;
void attention_backward_scalar(const AttentionArgs&) noexcept;
void attention_backward_avx2(const AttentionArgs&) noexcept;
void attention_backward_avx512(const AttentionArgs&) noexcept;
void attention_backward_avx512bf16(const AttentionArgs&) noexcept;

std::span<const Impl<AttentionFn>> attention_impls();           // best first
std::span<const Impl<AttentionFn>> attention_backward_impls();  // the same names

// The forward on the device: q, k, v, out in fp32 or bf16 (the same for all four).
struct AttentionCudaArgs {
  const void* q;           // (B, Tq, H, D)
  const void* k;           // (B, Tk, Hkv, D)
  const void* v;           // (B, Tk, Hkv, D)
  const std::int32_t* lo;  // (Bm, Tq)
  const std::int32_t* hi;  // (Bm, Tq)
  void* out;               // (B, Tq, H, D)  out
  float* stats;            // (B, H, Tq, 2)  out
  std::size_t B, Bm, Tq, Tk, H, Hkv, D;
  float scale;
  bool bf16;
};

// Returns a cudaError_t (0 = launched) or cuda_absent.
int attention_cuda(const AttentionCudaArgs&, void* stream) noexcept;

}  // namespace fasttrain::nn
