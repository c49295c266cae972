#include "tokenizer/pretokenize.h"

#if defined(__x86_64__)
#include "core/parallel.h"
#include "tokenizer/scan_avx512.h"

namespace fasttrain::tokenizer {
namespace {

FT_AVX512 std::int64_t cut(const UnicodeClasses& u, const Pattern& pattern, const std::uint8_t* start,
                         const std::uint8_t* end, std::int64_t* out) noexcept {
  std::int64_t count = 0;
  const std::uint8_t* ends[avx512::batch_pieces];
  for (const std::uint8_t* p = start; p < end;) {
    const int n = avx512::cut_batch(u, pattern, p, end, ends);
    for (int i = 0; i < n; ++i) out[count++] = ends[i] - start;
    p = ends[n - 1];
  }
  return count;
}

}  // namespace

void pretokenize_avx512(const PretokenizeArgs& a) noexcept {
  const UnicodeClasses& u = unicode_classes();
  const Pattern pattern = Pattern::number(a.pattern);
  parallel_ranges(a.N, 16, a.threads, [&](std::size_t begin, std::size_t stop) {
    for (std::size_t n = begin; n < stop; ++n)
      a.counts[n] =
          cut(u, pattern, a.data + a.offsets[n], a.data + a.offsets[n + 1], a.ends + (a.offsets[n] - a.offsets[0]));
  });
}

}  // namespace fasttrain::tokenizer
#endif
