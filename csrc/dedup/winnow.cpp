// The minimum of a sliding window: when the smallest leaves, the window is searched again, which for random hashes
// happens every w / 2 steps; so about two comparisons a byte, and w where hashes rise all the time.

#include "dedup/winnow.h"

#include <algorithm>
#include <array>
#include <vector>

#include "text/shingle_words.h"

namespace fasttrain::dedup {

void winnow_scalar(WinnowArgs& p) noexcept {
  const std::uint64_t drop = text::ngram_power(p.k);
  std::vector<std::uint64_t> hash;
  for (std::size_t n = 0; n < p.N; ++n) {
    const std::uint8_t* data = p.data + p.offsets[n];
    const auto bytes = static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n]);
    if (bytes < p.k + p.w - 1) continue;
    const std::size_t count = bytes - p.k + 1;
    if (hash.size() < count) hash.resize(count);
    std::uint64_t sum = 0;
    for (std::size_t j = 0; j + 1 < p.k; ++j) sum = sum * text::ngram_base + data[j];
    for (std::size_t i = 0; i < count; ++i) {
      sum = sum * text::ngram_base + data[i + p.k - 1];
      if (i > 0) sum -= data[i - 1] * drop;
      hash[i] = text::mix64(sum);
    }
    const auto least = [&](std::size_t from, std::size_t to) {
      return static_cast<std::size_t>(std::min_element(hash.begin() + static_cast<std::ptrdiff_t>(from),
                                                       hash.begin() + static_cast<std::ptrdiff_t>(to)) -
                                      hash.begin());
    };
    std::size_t best = least(0, p.w), last = count;
    for (std::size_t end = p.w;; ++end) {  // the window [end - w, end)
      if (best != last) {
        if (p.found < p.capacity) {
          p.hash[p.found] = hash[best];
          p.text[p.found] = static_cast<std::int64_t>(n);
          p.begin[p.found] = static_cast<std::int64_t>(best);
        }
        ++p.found;
        last = best;
      }
      if (end == count) break;
      if (best < end + 1 - p.w) {
        best = least(end + 1 - p.w, end + 1);
      } else if (hash[end] < hash[best]) {
        best = end;
      }
    }
  }
}

std::span<const Impl<WinnowFn>> winnow_impls() {
  static constexpr std::array<Impl<WinnowFn>, 1> impls{{{"scalar", Isa::any, winnow_scalar}}};
  return impls;
}

}  // namespace fasttrain::dedup
