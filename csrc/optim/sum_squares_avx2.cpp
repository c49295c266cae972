#if defined(__x86_64__)
#include <immintrin.h>

#include "core/parallel.h"
#include "optim/sum_squares.h"

namespace fasttrain::optim {
namespace {

constexpr std::size_t W = 4, R = sum_squares_lanes / W;  // doubles a vector, vectors a step

FT_AVX2 double block(const float* x, std::size_t n) noexcept {
  __m256d acc[R];
  for (std::size_t r = 0; r < R; ++r) acc[r] = _mm256_setzero_pd();
  std::size_t i = 0;
  for (; i + sum_squares_lanes <= n; i += sum_squares_lanes)
    for (std::size_t r = 0; r < R; ++r) {
      const __m256d d = _mm256_cvtps_pd(_mm_loadu_ps(x + i + r * W));
      acc[r] = _mm256_fmadd_pd(d, d, acc[r]);  // the square is exact, so fusing changes nothing
    }
  alignas(64) double lanes[sum_squares_lanes];
  for (std::size_t r = 0; r < R; ++r) _mm256_store_pd(lanes + r * W, acc[r]);
  return sum_squares_finish(lanes, x + i, n - i);
}

}  // namespace

void sum_squares_avx2(const SumSquaresArgs& p) noexcept {
  parallel_ranges(p.N, sum_squares_block, p.threads, [&](std::size_t begin, std::size_t end) {
    p.out[begin / sum_squares_block] = block(p.x + begin, end - begin);
  });
}

}  // namespace fasttrain::optim
#endif
