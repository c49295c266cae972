#include "optim/sum_squares.h"

#include <array>

#include "core/parallel.h"

namespace fasttrain::optim {

double sum_squares_finish(double lanes[sum_squares_lanes], const float* x, std::size_t n) noexcept {
  for (std::size_t j = 0; j < n; ++j) lanes[j] += static_cast<double>(x[j]) * static_cast<double>(x[j]);
  double sum = 0.0;
  for (std::size_t j = 0; j < sum_squares_lanes; ++j) sum += lanes[j];
  return sum;
}

void sum_squares_scalar(const SumSquaresArgs& p) noexcept {
  parallel_ranges(p.N, sum_squares_block, p.threads, [&](std::size_t begin, std::size_t end) {
    double lanes[sum_squares_lanes] = {};
    std::size_t i = begin;
    for (; i + sum_squares_lanes <= end; i += sum_squares_lanes)
      for (std::size_t j = 0; j < sum_squares_lanes; ++j)
        lanes[j] += static_cast<double>(p.x[i + j]) * static_cast<double>(p.x[i + j]);
    p.out[begin / sum_squares_block] = sum_squares_finish(lanes, p.x + i, end - i);
  });
}

std::span<const Impl<SumSquaresFn>> sum_squares_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<SumSquaresFn>{"avx512", Isa::avx512, sum_squares_avx512},
      Impl<SumSquaresFn>{"avx2", Isa::avx2, sum_squares_avx2},
#endif
      Impl<SumSquaresFn>{"scalar", Isa::any, sum_squares_scalar},
  };
  return impls;
}

}  // namespace fasttrain::optim
