#pragma once
// What linear_cross_entropy does between its matrix products, or with them.       N rows, V words, C channels.
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

// Where the CPU multiplies bf16, all of it for a chunk of tokens, without logits in memory. With r a number of the
// token, its greatest logit or at most 30 less,
//   e = exp(logit - r), of which bf16(e) is kept, scale = (dnll + 2 lse dz2) / sum e, and at the target t
//   exact = scale e_t - dnll, kept = bf16(e_t)
//   dx (N,C)      = scale (bf16(e) weight) + (exact - scale kept) weight_t
//   dweight (V,C) = or += bf16(e)^T bf16(scale x), and at t exact x - kept bf16(scale x)
// Sums are fp32 from the first to the last, and logits are not rounded, nor is the target's share of the gradients.

constexpr std::size_t loss_group = 64;       // tokens side by side
constexpr std::size_t loss_block = 256;      // tokens that dweight takes at a time
constexpr std::size_t loss_words = 96;        // a block of words, in the cache while it is multiplied twice
constexpr std::size_t weight_channels = 48;  // of a block of words side by side: 18 KB

struct LossArgs {
  const void* x;                // (N, C)  bf16
  const void* weight;           // (V, C)  fp32, or bf16 when `bf16`
  const std::int64_t* targets;  // (N,)
  const float* dnll;            // (N,)  nullptr: 1
  const float* dz2;             // (N,)  nullptr: z_loss
  float* nll;                   // (N,)  out
  float* z2;                    // (N,)  out
  float* factors;               // (3, N)  out: scale, exact, kept; 0 where the target is -100
  std::uint32_t* exps;          // (groups of N, (V + 1) / 2, 64)  out: pairs of words, of 64 tokens; or nullptr
  void* dx;                     // (N, C)  out, bf16; or nullptr. There is exps where there is dx.
  std::uint32_t* work;          // loss_work(N, C, ..)  scratch
  std::size_t N, V, C;
  float z_loss;
  bool bf16;
  int threads;
};

struct DweightArgs {
  const std::uint32_t* exps;    // (groups of N, (V + 1) / 2, 64)
  const float* factors;         // (3, N)
  const void* x;                // (N, C)  bf16
  const std::int64_t* targets;  // (N,)
  void* sum;                    // (V, C)  as in AccumulateArgs
  std::uint16_t* lower;         // (V, C)  or nullptr
  std::uint32_t* work;          // loss_work(N, C, ..)  scratch
  std::size_t N, V, C;
  bool keep;
  int threads;
};

using LinearCrossEntropyFn = void (*)(const LinearCrossEntropyArgs&) noexcept;
using AccumulateFn = void (*)(const AccumulateArgs&) noexcept;
using JoinFn = void (*)(const JoinArgs&) noexcept;
using LossFn = void (*)(const LossArgs&) noexcept;
using DweightFn = void (*)(const DweightArgs&) noexcept;

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
void linear_loss_avx512bf16(const LossArgs&) noexcept;
void linear_dweight_avx512bf16(const DweightArgs&) noexcept;

std::span<const Impl<LinearCrossEntropyFn>> linear_cross_entropy_impls();  // best first
std::span<const Impl<AccumulateFn>> accumulate_impls();                    // the same names
std::span<const Impl<JoinFn>> join_impls();                                // the same names
std::span<const Impl<LossFn>> linear_loss_impls();        // where the CPU multiplies bf16
std::span<const Impl<DweightFn>> linear_dweight_impls();  // the same names

// Scratch of a chunk, in numbers of 32 bits, and the shapes in it.
constexpr std::size_t loss_group_bytes = loss_group * 5 * 4, loss_parts_bytes = loss_group * 4 * 2 * 4;
struct LossWork {
  std::size_t groups, pairs, channels, x, words, dx, group, parts, cast, total;
};
constexpr LossWork loss_work_of(std::size_t N, std::size_t C, bool is_cast) {
  LossWork w{};
  w.groups = (N + loss_group - 1) / loss_group, w.pairs = (C + 1) / 2, w.channels = (C + 5) / 6 * 6;
  w.x = w.groups * w.pairs * loss_group;
  w.words = (C + weight_channels - 1) / weight_channels * weight_channels * loss_words / 2;
  w.dx = w.groups * w.channels * loss_group;
  w.group = w.groups * loss_group_bytes / 4, w.parts = w.groups * loss_parts_bytes / 4;
  w.cast = is_cast || C % 2 ? loss_words * w.pairs : 0;
  w.total = w.x + w.words + w.dx + w.group + w.parts + w.cast;
  const std::size_t dweight = (C + loss_group - 1) / loss_group * loss_group * loss_block / 2;
  if (w.total < dweight) w.total = dweight;
  return w;
}
// Threads that take groups of their own through all words; 1 where there are more threads than groups to take.
constexpr std::size_t loss_parts(std::size_t N, int threads) {
  const std::size_t groups = (N + loss_group - 1) / loss_group, n = threads > 1 ? static_cast<std::size_t>(threads) : 1;
  return n <= groups ? n : 1;
}
constexpr std::size_t loss_work(std::size_t N, std::size_t C, bool is_cast, int threads) {
  const std::size_t parts = loss_parts(N, threads);
  const LossWork w = loss_work_of(N, C, is_cast);
  return w.total + (parts - 1) * (w.words + w.cast);
}

}  // namespace fasttrain::nn
