#include "tokenizer/pretokenize.h"

#include <array>

#include "core/parallel.h"
#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {

void pretokenize_scalar(const PretokenizeArgs& a) noexcept {
  const UnicodeClasses& u = unicode_classes();
  const Pattern pattern = Pattern::number(a.pattern);
  parallel_ranges(a.N, 16, a.threads, [&](std::size_t begin, std::size_t stop) {
    for (std::size_t n = begin; n < stop; ++n) {
      const std::uint8_t *start = a.data + a.offsets[n], *end = a.data + a.offsets[n + 1];
      std::int64_t* out = a.ends + (a.offsets[n] - a.offsets[0]);
      std::int64_t count = 0;
      for (const std::uint8_t* p = start; p < end;) {
        p = scalar::next_piece(u, pattern, p, end);
        out[count++] = p - start;
      }
      a.counts[n] = count;
    }
  });
}

std::span<const Impl<PretokenizeFn>> pretokenize_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<PretokenizeFn>, 3> impls{
      {{"avx512", Isa::avx512, pretokenize_avx512},
       {"avx2", Isa::avx2, pretokenize_avx2},
       {"scalar", Isa::any, pretokenize_scalar}}};
#else
  static constexpr std::array<Impl<PretokenizeFn>, 1> impls{{{"scalar", Isa::any, pretokenize_scalar}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
