#pragma once
// GELU by its tanh formula, forward and backward.                                                  N values.
//
//   u = sqrt(2/pi) (x + 0.044715 x^3), s = 1 / (1 + exp(-2 u)), out = x (1 + tanh(u)) / 2 = x s
//   dx = dout (s + x s (1 - s) 2 u'), u' = sqrt(2/pi) (1 + 3 0.044715 x^2)
//
// All arrays are fp32 or all bf16, arithmetic is fp32; the bits do not depend on the number of threads. Every finite x
// has finite results, also where x^3 is none.
//
// Source: Hendrycks & Gimpel 2016 (arXiv:1606.08415). Reference: fasttrain/nn/gelu_ref.py.
// The face has checked types.

#include <cstddef>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

struct GeluArgs {
  const void* x;     // (N,)
  void* out;         // (N,)  out, forward only
  const void* dout;  // (N,)  backward only, as below
  void* dx;          // (N,)  out
  std::size_t N;
  bool bf16;
  int threads;
};

using GeluFn = void (*)(const GeluArgs&) noexcept;

void gelu_forward_scalar(const GeluArgs&) noexcept;
void gelu_forward_avx2(const GeluArgs&) noexcept;
void gelu_forward_avx512(const GeluArgs&) noexcept;
void gelu_forward_avx512bf16(const GeluArgs&) noexcept;
void gelu_backward_scalar(const GeluArgs&) noexcept;
void gelu_backward_avx2(const GeluArgs&) noexcept;
void gelu_backward_avx512(const GeluArgs&) noexcept;
void gelu_backward_avx512bf16(const GeluArgs&) noexcept;

std::span<const Impl<GeluFn>> gelu_impls();           // best first
std::span<const Impl<GeluFn>> gelu_backward_impls();  // the same names

}  // namespace fasttrain::nn
