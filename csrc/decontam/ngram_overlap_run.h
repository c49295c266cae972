#pragma once /* part of ngram_overlap */
// The walk over the texts; `Probe` finds the n-grams of one window that may be in the index.

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "decontam/ngram_overlap.h"
#include "text/shingle_words.h"

namespace fasttrain::decontam {

inline bool may_be_key(const NgramOverlapArgs& p, std::uint64_t h) noexcept {
  const std::uint64_t word = p.filter[h >> 6 & (p.F - 1)];
  return (word >> (h & 63) & word >> (h >> 58) & 1) != 0;
}

// probe(p, hashes, count, found): found(i) for every i whose bits are set, rising.
template <typename Probe>
void ngram_overlap_run(const NgramOverlapArgs& p, text::WordsFn split, const Probe& probe) noexcept {
  parallel_ranges(p.D, 16, p.threads, [&](std::size_t begin, std::size_t end) {
    text::Words words;
    std::vector<std::uint64_t> hashes;
    for (std::size_t d = begin; d < end; ++d) {
      const std::int64_t t = p.texts[d];
      const auto bytes = static_cast<std::size_t>(p.offsets[t + 1] - p.offsets[t]);
      std::int64_t m = p.words == nullptr ? 0 : p.starts[d];
      std::int64_t first = 0;  // word number of the window's first n-gram
      // A text of fewer than n words has one shorter shingle, which is no n-gram of n: it comes last and is not looked
      // at.
      const auto look = [&](const std::uint64_t* hash, std::size_t count) {
        probe(p, hash, count, [&](std::size_t i) {
          const std::uint64_t* key = std::lower_bound(p.keys, p.keys + p.K, hash[i]);
          if (key == p.keys + p.K || *key != hash[i]) return;
          if (p.words != nullptr) {
            p.words[m] = first + static_cast<std::int64_t>(i);
            p.grams[m] = key - p.keys;
          }
          ++m;
        });
        first += static_cast<std::int64_t>(count);
      };
      const std::int64_t none = m;
      const std::size_t total = text::for_each_ngram(split, p.data + p.offsets[t], bytes, p.n, words, hashes, look);
      if (total < p.n) m = none;
      if (p.words == nullptr) p.counts[d] = m;
    }
  });
}

}  // namespace fasttrain::decontam
