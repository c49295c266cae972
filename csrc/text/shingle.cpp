#include "text/shingle.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "core/parallel.h"

namespace fasttrain::text {
namespace {

// Each text writes where it has room for sure, the gaps are closed afterwards: one pass over the text instead of two.
void shingle_with(WordsFn split, const ShingleArgs& p) noexcept {
  std::vector<std::int64_t> room(p.N + 1);
  for (std::size_t d = 0; d < p.N; ++d) room[d + 1] = room[d] + (p.offsets[d + 1] - p.offsets[d] + 1) / 2;
  p.out_offsets[0] = 0;
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) {
    Words words;
    std::vector<std::uint64_t> grams;
    for (std::size_t d = begin; d < end; ++d) {
      std::uint64_t *first = p.out + room[d], *last = first;
      for_each_ngram(split, p.data + p.offsets[d], static_cast<std::size_t>(p.offsets[d + 1] - p.offsets[d]), p.n,
                     words, grams, [&last](const std::uint64_t* gram, std::size_t count) {
                       std::memcpy(last, gram, count * sizeof *gram);
                       last += count;
                     });
      if (p.sets) {
        std::sort(first, last);
        last = std::unique(first, last);
      }
      p.out_offsets[d + 1] = last - first;
    }
  });
  for (std::size_t d = 0; d < p.N; ++d) {
    const std::int64_t count = p.out_offsets[d + 1];
    if (count > 0)
      std::memmove(p.out + p.out_offsets[d], p.out + room[d], static_cast<std::size_t>(count) * sizeof *p.out);
    p.out_offsets[d + 1] = p.out_offsets[d] + count;
  }
}

}  // namespace

void shingle_scalar(const ShingleArgs& p) noexcept { shingle_with(words_scalar, p); }
void shingle_avx2(const ShingleArgs& p) noexcept { shingle_with(words_avx2, p); }

std::span<const Impl<ShingleFn>> shingle_impls() {
  static constexpr std::array<Impl<ShingleFn>, 2> impls{{
      {"avx2", Isa::avx2, shingle_avx2},
      {"scalar", Isa::any, shingle_scalar},
  }};
  return impls;
}

}  // namespace fasttrain::text
