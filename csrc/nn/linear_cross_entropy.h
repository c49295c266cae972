#pragma once
// What linear_cross_entropy does between its matrix products.                     N rows, V words, C channels.
//
//   lse = log sum exp(logits), nll = lse - logits[target], z2 = lse^2; both 0 where target = -100
//   dlogits = softmax (dnll + 2 lse dz2) - onehot(target) dnll, written over the logits; 0 where target = -100
//
// logits are fp32 or bf16, arithmetic is fp32. A row is read from memory once and written once: its later passes find
// it in L2. What is not finite stays so in its row. The bits do not depend on the number of threads.
//
// Reference: fasttrain/nn/linear_cross_entropy_ref.py. The face has checked shapes, types and 0 <= target < V.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

constexpr std::int64_t ignored_target = -100;

struct LinearCrossEntropyArgs {
  void* logits;                 // (N, V)  in; out when `gradient`
  const std::int64_t* targets;  // (N,)
  const float* dnll;            // (N,)  nullptr: 1
  const float* dz2;             // (N,)  nullptr: z_loss
  float* nll;                   // (N,)  out
  float* z2;                    // (N,)  out
  std::size_t N, V;
  float z_loss;
  bool bf16, gradient;
  int threads;
};

struct AccumulateArgs {  // sum += part
  const void* part;      // (N,)  bf16
  float* sum;            // (N,)  in, out
  std::size_t N;
  int threads;
};

using LinearCrossEntropyFn = void (*)(const LinearCrossEntropyArgs&) noexcept;
using AccumulateFn = void (*)(const AccumulateArgs&) noexcept;

void linear_cross_entropy_scalar(const LinearCrossEntropyArgs&) noexcept;
void linear_cross_entropy_avx2(const LinearCrossEntropyArgs&) noexcept;
void linear_cross_entropy_avx512(const LinearCrossEntropyArgs&) noexcept;
void linear_cross_entropy_avx512bf16(const LinearCrossEntropyArgs&) noexcept;
void accumulate_scalar(const AccumulateArgs&) noexcept;
void accumulate_avx2(const AccumulateArgs&) noexcept;
void accumulate_avx512(const AccumulateArgs&) noexcept;
void accumulate_avx512bf16(const AccumulateArgs&) noexcept;

std::span<const Impl<LinearCrossEntropyFn>> linear_cross_entropy_impls();  // best first
std::span<const Impl<AccumulateFn>> accumulate_impls();                    // the same names

}  // namespace fasttrain::nn
