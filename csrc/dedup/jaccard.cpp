// A merge without branches on the data: which side moves on is unpredictable, so both indices advance by comparisons.
// About a nanosecond an element; verification is a hundredth of the stage, so it has no vector form.

#include "dedup/jaccard.h"

#include <array>

#include "core/parallel.h"

namespace fasttrain::dedup {

void jaccard_scalar(const JaccardArgs& p) noexcept {
  parallel_ranges(p.P, 64, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t k = begin; k < end; ++k) {
      const std::int64_t i = p.pairs[2 * k], j = p.pairs[2 * k + 1];
      const std::uint64_t *x = p.a + p.a_offsets[i], *x_end = p.a + p.a_offsets[i + 1];
      const std::uint64_t *y = p.b + p.b_offsets[j], *y_end = p.b + p.b_offsets[j + 1];
      std::int64_t common = 0;
      while (x < x_end && y < y_end) {
        const std::uint64_t u = *x, v = *y;
        common += u == v;
        x += u <= v;
        y += v <= u;
      }
      p.common[k] = common;
    }
  });
}

std::span<const Impl<JaccardFn>> jaccard_impls() {
  static constexpr std::array<Impl<JaccardFn>, 1> impls{{{"scalar", Isa::any, jaccard_scalar}}};
  return impls;
}

}  // namespace fasttrain::dedup
