#include "tokenizer/pretokenize.h"

#include <array>

#include "core/parallel.h"
#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {

namespace {

std::int64_t cut_text(const UnicodeClasses& u, const Pattern& pattern, const std::uint8_t* start,
                      const std::uint8_t* end, std::int64_t* out) noexcept {
  std::int64_t count = 0;
  for (const std::uint8_t* p = start; p < end;) {
    p = scalar::next_piece(u, pattern, p, end);
    out[count++] = p - start;
  }
  return count;
}

}  // namespace

void pretokenize_texts(const PretokenizeArgs& a, CutTextFn cut) noexcept {
  const UnicodeClasses& u = unicode_classes();
  const Pattern pattern = Pattern::number(a.pattern);
  parallel_ranges(a.N, 16, a.threads, [&](std::size_t begin, std::size_t stop) {
    for (std::size_t n = begin; n < stop; ++n)
      a.counts[n] =
          cut(u, pattern, a.data + a.offsets[n], a.data + a.offsets[n + 1], a.ends + (a.offsets[n] - a.offsets[0]));
  });
}

void pretokenize_scalar(const PretokenizeArgs& a) noexcept { pretokenize_texts(a, cut_text); }

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
