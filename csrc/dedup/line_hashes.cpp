// The words of a span come from the splitter that shingles use, so a line's hash agrees with the rest of the room.

#include "dedup/line_hashes.h"

#include <array>

#include "core/parallel.h"
#include "text/shingle_words.h"

namespace fasttrain::dedup {
namespace {

void hash_with(text::WordsFn split, const LineHashesArgs& p) noexcept {
  parallel_ranges(p.M, 1024, p.threads, [&](std::size_t first, std::size_t last) {
    text::Words words;
    for (std::size_t m = first; m < last; ++m) {
      const std::uint8_t* span = p.data + p.begins[m];
      const auto bytes = static_cast<std::size_t>(p.ends[m] - p.begins[m]);
      std::uint64_t sum = 0;
      std::size_t count = 0;
      for (std::size_t begin = 0; begin < bytes;) {
        const std::size_t end = text::window_end(span, begin, bytes);
        words.clear();
        split(span + begin, end - begin, words);
        for (std::size_t w = 0; w < words.count; ++w) sum = sum * text::ngram_base + words.hash[w];
        count += words.count;
        begin = end;
      }
      if (p.digits) {
        std::uint64_t digits = 0;
        for (std::size_t i = 0; i < bytes; ++i)
          if (span[i] >= '0' && span[i] <= '9') digits = digits * text::ngram_base + span[i];
        sum ^= text::mix64(digits);
      }
      p.hash[m] = count == 0 ? 0 : text::mix64(sum);
      p.words[m] = static_cast<std::int64_t>(count);
    }
  });
}

}  // namespace

void line_hashes_scalar(const LineHashesArgs& p) noexcept { hash_with(text::words_scalar, p); }
void line_hashes_avx2(const LineHashesArgs& p) noexcept { hash_with(text::words_avx2, p); }

std::span<const Impl<LineHashesFn>> line_hashes_impls() {
  static constexpr std::array<Impl<LineHashesFn>, 2> impls{{
      {"avx2", Isa::avx2, line_hashes_avx2},
      {"scalar", Isa::any, line_hashes_scalar},
  }};
  return impls;
}

}  // namespace fasttrain::dedup
