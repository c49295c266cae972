#include "dedup/sketch.h"

#include <algorithm>
#include <array>

#include "core/parallel.h"

namespace fasttrain::dedup {

void sketch_update_scalar(const std::uint64_t* shingles, std::size_t count, const std::uint32_t* a,
                          const std::uint32_t* b, std::size_t K, std::uint32_t* sig) noexcept {
  for (std::size_t s = 0; s < count; ++s) {
    const auto x = static_cast<std::uint32_t>(shingles[s]);
    for (std::size_t k = 0; k < K; ++k) sig[k] = std::min(sig[k], a[k] * x + b[k]);
  }
}

void sketch_with(SketchUpdateFn update, const SketchArgs& p) noexcept {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t n = begin; n < end; ++n) {
      std::uint32_t* sig = p.sig + n * p.K;
      std::fill_n(sig, p.K, 0xffffffffu);
      const std::int64_t first = p.offsets[n], last = p.offsets[n + 1];
      update(p.shingles + first, static_cast<std::size_t>(last - first), p.a, p.b, p.K, sig);
    }
  });
}

void sketch_scalar(const SketchArgs& p) noexcept { sketch_with(sketch_update_scalar, p); }

std::span<const Impl<SketchFn>> sketch_impls() {
  static constexpr std::array<Impl<SketchFn>, 3> impls{{
      {"avx512", Isa::avx512, sketch_avx512},
      {"avx2", Isa::avx2, sketch_avx2},
      {"scalar", Isa::any, sketch_scalar},
  }};
  return impls;
}

}  // namespace fasttrain::dedup
