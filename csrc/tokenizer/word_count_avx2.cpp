#include "tokenizer/word_count.h"

#if defined(__x86_64__)
#include "core/parallel.h"
#include "tokenizer/scan_avx2.h"

namespace fasttrain::tokenizer {
namespace {

FT_AVX2 void count_text(const UnicodeClasses& u, const Pattern& pattern, const std::uint8_t* p, const std::uint8_t* end,
                        WordMap& map) {
  const std::uint8_t* ends[avx2::batch_pieces];
  while (p < end) {
    const int n = avx2::cut_batch(u, pattern, p, end, ends);
    for (int i = 0; i < n; ++i) {
      map.add(p, static_cast<std::size_t>(ends[i] - p), 1);
      p = ends[i];
    }
  }
}

}  // namespace

void count_words_avx2(const WordCountArgs& a) noexcept {
  const UnicodeClasses& u = unicode_classes();
  const Pattern pattern = Pattern::number(a.counter->pattern());
  parallel_ranges(a.N, 16, a.threads, [&](std::size_t begin, std::size_t stop) {
    auto map = a.counter->take();
    for (std::size_t n = begin; n < stop; ++n)
      count_text(u, pattern, a.data + a.offsets[n], a.data + a.offsets[n + 1], *map);
    a.counter->give_back(std::move(map));
  });
}

}  // namespace fasttrain::tokenizer
#endif
