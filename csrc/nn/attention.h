#pragma once
// Attention, forward and backward, fp32.      B rows, Tq queries, Tk keys, H query heads, Hkv kv heads, D head dim.
//
//   S = scale q k^T, P = softmax over the keys [lo, hi) of each query, out = P v
//   dP = dout v^T, delta = rowsum(dout out), dS = P (dP - delta), dq = scale dS k, dk = scale dS^T q, dv = P^T dout
//
// q (B,Tq,H,D), k, v (B,Tk,Hkv,D) -> out (B,Tq,H,D), stats (B,H,Tq,2): max S and 1 / sum exp(S - max S), which give P
// back more exactly than their logarithm would (exp(S - lse) carries the rounding of lse into every P).
//
// Query head h uses kv head h / (H / Hkv). A query that sees no key gives out = 0 and stats (0, 0), and its gradients
// are 0. What is not finite stays so. Sums run in fp32, in an order that depends on the implementation and not on the
// number of threads.
//
// Source: Dao 2023 (FlashAttention-2): tiles, online softmax, recomputation from stats.
// Checked by the face: D % 16 = 0, D <= 256, H % Hkv = 0, 0 <= lo, hi <= Tk.
// Reference: fasttrain/nn/attention_ref.py.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

constexpr std::size_t attention_pad = 64;  // keys are packed in whole panels of at most so many
constexpr std::size_t attention_max_D = 256;

struct AttentionArgs {
  const float* q;          // (B, Tq, H, D)
  const float* k;          // (B, Tk, Hkv, D)
  const float* v;          // (B, Tk, Hkv, D)
  const std::int32_t* lo;  // (Bm, Tq)  Bm = B, or 1 when all rows share one mask
  const std::int32_t* hi;  // (Bm, Tq)
  float* out;              // (B, Tq, H, D)  out; in the backward an input
  float* stats;            // (B, H, Tq, 2)  out; in the backward an input
  const float* dout;       // (B, Tq, H, D)    backward only, as all below
  float* dq;               // (B, Tq, H, D)    out
  float* dk;               // (B, Tk, Hkv, D)  out
  float* dv;               // (B, Tk, Hkv, D)  out
  float* work;             // attention_work(...) floats of scratch
  std::size_t B, Bm, Tq, Tk, H, Hkv, D;
  float scale;
  int threads;
};

using AttentionFn = void (*)(const AttentionArgs&) noexcept;

// Floats of scratch: packed keys and values of every (b, kv head): 2 for the forward, 3 and delta for the backward.
constexpr std::size_t attention_work(std::size_t B, std::size_t Tq, std::size_t Tk, std::size_t H, std::size_t Hkv,
                                     std::size_t D, bool backward) {
  const std::size_t panels = B * Hkv * D * ((Tk + attention_pad - 1) / attention_pad * attention_pad);
  return backward ? 3 * panels + B * H * Tq : 2 * panels;
}

void attention_forward_scalar(const AttentionArgs&) noexcept;
void attention_forward_avx2(const AttentionArgs&) noexcept;
void attention_forward_avx512(const AttentionArgs&) noexcept;
void attention_backward_scalar(const AttentionArgs&) noexcept;
void attention_backward_avx2(const AttentionArgs&) noexcept;
void attention_backward_avx512(const AttentionArgs&) noexcept;

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
