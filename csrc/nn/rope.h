#pragma once
// Rotary positions, rotate-half layout.            B rows, T tokens, H heads, D head dim (even), Bt = 1 or B.
//
//   out[d]       = x[d] cos[d] - x[d + D/2] sin[d]                d < D/2
//   out[d + D/2] = x[d + D/2] cos[d] + x[d] sin[d]
//
// `inverse` turns the other way, which is the gradient. x and out are fp32 or bf16, tables and arithmetic fp32. Of each
// table row the first D/2 values are read: both halves hold the same angles. The bits do not depend on the threads.
//
// Source: Su et al. 2021 (arXiv:2104.09864), layout of Hugging Face's Llama. Reference: fasttrain/nn/rope_ref.py.
// The face has checked shapes and types.

#include <cstddef>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

struct RopeArgs {
  const void* x;     // (B, T, H, D)
  const float* cos;  // (Bt, T, D)
  const float* sin;  // (Bt, T, D)
  void* out;         // (B, T, H, D)  out
  std::size_t B, T, H, D, Bt;
  bool inverse, bf16;
  int threads;
};

using RopeFn = void (*)(const RopeArgs&) noexcept;

void rope_scalar(const RopeArgs&) noexcept;
void rope_avx2(const RopeArgs&) noexcept;
void rope_avx512(const RopeArgs&) noexcept;
void rope_avx512bf16(const RopeArgs&) noexcept;

std::span<const Impl<RopeFn>> rope_impls();  // best first

}  // namespace fasttrain::nn
