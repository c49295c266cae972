#include "filter/fasttext_train.h"

#include <algorithm>
#include <cmath>

namespace fasttrain::filter {
namespace {

void steps(const FasttextTrainArgs& a) noexcept {
  const std::size_t D = a.D, L = a.L;
  float *hidden = a.scratch, *gradient = hidden + D, *p = gradient + D;
  double loss = 0;
  for (std::size_t m = 0; m < a.M; ++m) {
    const auto n = static_cast<std::size_t>(a.order[m]);
    const std::int64_t begin = a.offsets[n], end = a.offsets[n + 1];
    if (begin == end) continue;
    const float rate = a.rates[m];
    std::fill(hidden, hidden + 2 * D, 0.0f);
    for (std::int64_t r = begin; r < end; ++r) {
      const float* row = a.input + static_cast<std::size_t>(a.rows[r]) * D;
      for (std::size_t d = 0; d < D; ++d) hidden[d] += row[d];
    }
    const auto factor = static_cast<float>(1.0 / static_cast<double>(end - begin));
    for (std::size_t d = 0; d < D; ++d) hidden[d] *= factor;
    for (std::size_t l = 0; l < L; ++l) {
      float sum = 0;
      for (std::size_t d = 0; d < D; ++d) sum += a.output[l * D + d] * hidden[d];
      p[l] = sum;
    }
    const float most = *std::max_element(p, p + L);
    float total = 0;
    for (std::size_t l = 0; l < L; ++l) total += p[l] = static_cast<float>(std::exp(static_cast<double>(p[l] - most)));
    const auto label = static_cast<std::size_t>(a.labels[n]);
    for (std::size_t l = 0; l < L; ++l) {
      p[l] /= total;
      const float step = rate * ((l == label ? 1.0f : 0.0f) - p[l]);
      float* w = a.output + l * D;
      for (std::size_t d = 0; d < D; ++d) gradient[d] += step * w[d];
      for (std::size_t d = 0; d < D; ++d) w[d] += step * hidden[d];
    }
    loss -= std::log(static_cast<double>(p[label]) + 1e-5);
    for (std::size_t d = 0; d < D; ++d) gradient[d] *= factor;
    for (std::int64_t r = begin; r < end; ++r) {
      float* row = a.input + static_cast<std::size_t>(a.rows[r]) * D;
      for (std::size_t d = 0; d < D; ++d) row[d] += gradient[d];
    }
  }
  a.loss[0] = loss;
}

constexpr Impl<FasttextTrainFns> impls[] = {{"portable", Isa::any, {steps}}};

}  // namespace

std::span<const Impl<FasttextTrainFns>> fasttext_train_impls() { return impls; }

}  // namespace fasttrain::filter
