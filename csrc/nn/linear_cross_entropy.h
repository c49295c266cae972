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

// Sums of dweight are fp32, whole or, where the gradient is bf16, in halves: the upper 16 bits of each lie in the
// gradient itself and the lower 16 beside it, so that exact sums need no second array of their own.

struct AccumulateArgs {  // sum = or += part
  const void* part;      // (N,)  fp32, or bf16 when `bf16`
  void* sum;             // (N,)  in (when `keep`), out; fp32, or the upper halves when there is `lower`
  std::uint16_t* lower;  // (N,)  the lower halves, or nullptr
  std::size_t N;
  bool bf16, keep;
  int threads;
};

struct JoinArgs {              // upper = bf16(scale sum)
  std::uint16_t* upper;        // (N,)  in: upper halves; out: bf16
  const std::uint16_t* lower;  // (N,)
  std::size_t N;
  float scale;
  int threads;
};

// The two products of the backward pass, of bf16, added up in fp32 from the first token to the last:
//   dweight (V,C) = or += dlogits^T x        dx (N,C) = dlogits weight
struct LogitsProductArgs {
  const void* dlogits;   // (N, V)  bf16
  const void* other;     // x (N, C) bf16, or weight (V, C) fp32, or bf16 when `bf16`
  void* sum;             // dweight: as in AccumulateArgs; dx: fp32
  std::uint16_t* lower;  // dweight's, or nullptr
  std::uint32_t* work;   // logits_product_work(C, threads)  scratch
  std::size_t N, V, C;
  bool bf16, keep;
  int threads;
};

using LinearCrossEntropyFn = void (*)(const LinearCrossEntropyArgs&) noexcept;
using AccumulateFn = void (*)(const AccumulateArgs&) noexcept;
using JoinFn = void (*)(const JoinArgs&) noexcept;
using LogitsProductFn = void (*)(const LogitsProductArgs&) noexcept;

void linear_cross_entropy_scalar(const LinearCrossEntropyArgs&) noexcept;
void linear_cross_entropy_avx2(const LinearCrossEntropyArgs&) noexcept;
void linear_cross_entropy_avx512(const LinearCrossEntropyArgs&) noexcept;
void linear_cross_entropy_avx512bf16(const LinearCrossEntropyArgs&) noexcept;
void accumulate_scalar(const AccumulateArgs&) noexcept;
void accumulate_avx2(const AccumulateArgs&) noexcept;
void accumulate_avx512(const AccumulateArgs&) noexcept;
void accumulate_avx512bf16(const AccumulateArgs&) noexcept;
void join_scalar(const JoinArgs&) noexcept;
void join_avx2(const JoinArgs&) noexcept;
void join_avx512(const JoinArgs&) noexcept;
void join_avx512bf16(const JoinArgs&) noexcept;
void logits_dweight_avx512bf16(const LogitsProductArgs&) noexcept;
void logits_dx_avx512bf16(const LogitsProductArgs&) noexcept;

std::span<const Impl<LinearCrossEntropyFn>> linear_cross_entropy_impls();  // best first
std::span<const Impl<AccumulateFn>> accumulate_impls();                    // the same names
std::span<const Impl<JoinFn>> join_impls();                                // the same names
std::span<const Impl<LogitsProductFn>> logits_dweight_impls();             // where the CPU multiplies bf16
std::span<const Impl<LogitsProductFn>> logits_dx_impls();

// What both products take: a block of pairs of rows, of all channels, packed; dx packs one for each group of tokens.
constexpr std::size_t product_pairs = 128, product_panel = 64;
constexpr std::size_t product_panels(std::size_t C) { return (C + product_panel - 1) / product_panel; }
constexpr std::size_t product_token_groups(std::size_t C, std::size_t threads) {
  const std::size_t panels = product_panels(C);
  return panels == 0 || threads <= panels ? 1 : (threads + panels - 1) / panels;
}
constexpr std::size_t logits_product_work(std::size_t C, std::size_t threads) {
  return product_token_groups(C, threads) * product_panels(C) * product_panel * product_pairs;
}

}  // namespace fasttrain::nn
