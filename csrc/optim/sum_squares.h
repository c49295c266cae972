#pragma once
// Sum of squares of a flat fp32 array in fp64, block by block.            N values, P = ceil(N / block) blocks.
//
//   lane[j] = sum over i = j (mod 32) within the block, in order, of x[i]^2;   out[p] = the lanes added in order, 0 to
//   31
//
// A square of an fp32 value is exact in fp64, so only the additions round, and their order is fixed: the same bits for
// every implementation and number of threads. The caller adds the blocks exactly (math.fsum).
// Reference: fasttrain/optim/sum_squares_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <span>

#include "core/impl.h"

namespace fasttrain::optim {

constexpr std::size_t sum_squares_block = 1 << 16;
constexpr std::size_t sum_squares_lanes = 32;

struct SumSquaresArgs {
  const float* x;  // (N,)
  double* out;     // (P,)  out
  std::size_t N;
  int threads;
};

using SumSquaresFn = void (*)(const SumSquaresArgs&) noexcept;

void sum_squares_scalar(const SumSquaresArgs&) noexcept;
void sum_squares_avx2(const SumSquaresArgs&) noexcept;
void sum_squares_avx512(const SumSquaresArgs&) noexcept;

// Adds x[i]^2 of the last n < 32 values to the first n lanes, then returns all lanes added in order.
double sum_squares_finish(double lanes[sum_squares_lanes], const float* x, std::size_t n) noexcept;

std::span<const Impl<SumSquaresFn>> sum_squares_impls();  // best first

}  // namespace fasttrain::optim
