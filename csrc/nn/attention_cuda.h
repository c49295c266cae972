#pragma once /* part of attention */
// Attention on tensor cores, forward and backward, bf16 with fp32 sums.      Letters and formulas: attention.h.
//
// Statistics are one number a query: lse = log2 of the sum of 2^(S log2 e), +inf where a query sees no key, so that the
// backward's P = 2^(S log2 e - lse) is 0 there. The exponent is clamped at 0: rounding may not push P beyond 1.
// Nothing is added by atomics: dq is made by a second pass over the keys (7 products in place of 5), so every bit
// depends on the inputs alone.
//
// Needs D = 64 or 128, scale > 0, 16-byte aligned rows. Returns a cudaError_t (0 = launched) or cuda_absent.
// Source: Dao 2023 (FlashAttention-2).

#include <cstddef>
#include <cstdint>

namespace fasttrain::nn {

struct AttentionTensorArgs {
  const void* q;           // (B, Tq, H, D)    bf16, as all of q, k, v, out and gradients
  const void* k;           // (B, Tk, Hkv, D)
  const void* v;           // (B, Tk, Hkv, D)
  const std::int32_t* lo;  // (Bm, Tq)  Bm = B, or 1 when all rows share one mask
  const std::int32_t* hi;  // (Bm, Tq)
  void* out;               // (B, Tq, H, D)    out; in the backward an input
  float* lse;              // (B, H, Tq)       out; in the backward an input
  const void* dout;        // (B, Tq, H, D)    backward only, as all below
  void* dq;                // (B, Tq, H, D)    out
  void* dk;                // (B, Tk, Hkv, D)  out
  void* dv;                // (B, Tk, Hkv, D)  out
  float* rows;             // (B, H, ceil(Tq / attention_range_block) attention_range_block, 2)  scratch: lse, delta
  std::int32_t* ranges;    // (Bm, ceil(Tq / attention_range_block), 4)  scratch
  std::size_t B, Bm, Tq, Tk, H, Hkv, D;
  float scale;
};

constexpr std::size_t attention_range_block = 64;  // queries whose key ranges the backward looks at together

// mma: any card from sm_80 on. wgmma: Hopper (sm_90a) alone.
int attention_mma_forward(const AttentionTensorArgs&, void* stream) noexcept;
int attention_mma_backward(const AttentionTensorArgs&, void* stream) noexcept;
int attention_wgmma_forward(const AttentionTensorArgs&, void* stream) noexcept;
int attention_wgmma_backward(const AttentionTensorArgs&, void* stream) noexcept;

// Fills rows (delta = rowsum(dout out); beyond the last query lse = +inf, delta = 0) and ranges, which both backwards
// begin with.
int attention_prepare_backward(const AttentionTensorArgs&, void* stream) noexcept;

}  // namespace fasttrain::nn
