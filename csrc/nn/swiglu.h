#pragma once
// SwiGLU's product, forward and backward.                                                          N values.
//
//   s = 1 / (1 + exp(-gate)), out = gate s up
//   dgate = dout up s (1 + gate (1 - s)), dup = dout gate s
//
// All arrays are fp32 or all bf16, arithmetic is fp32; the bits do not depend on the number of threads. s is computed
// from exp(-|gate|), which cannot overflow.
//
// Source: Shazeer 2020 (arXiv:2002.05202). Reference: fasttrain/nn/swiglu_ref.py.
// The face has checked shapes and types.

#include <cstddef>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

struct SwigluArgs {
  const void* gate;  // (N,)
  const void* up;    // (N,)
  void* out;         // (N,)  out, forward only
  const void* dout;  // (N,)  backward only, as all below
  void* dgate;       // (N,)  out
  void* dup;         // (N,)  out
  std::size_t N;
  bool bf16;
  int threads;
};

using SwigluFn = void (*)(const SwigluArgs&) noexcept;

void swiglu_forward_scalar(const SwigluArgs&) noexcept;
void swiglu_forward_avx2(const SwigluArgs&) noexcept;
void swiglu_forward_avx512(const SwigluArgs&) noexcept;
void swiglu_forward_avx512bf16(const SwigluArgs&) noexcept;
void swiglu_backward_scalar(const SwigluArgs&) noexcept;
void swiglu_backward_avx2(const SwigluArgs&) noexcept;
void swiglu_backward_avx512(const SwigluArgs&) noexcept;
void swiglu_backward_avx512bf16(const SwigluArgs&) noexcept;

std::span<const Impl<SwigluFn>> swiglu_impls();           // best first
std::span<const Impl<SwigluFn>> swiglu_backward_impls();  // the same names

}  // namespace fasttrain::nn
