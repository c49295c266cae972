#include "dedup/minhash.h"

#include <algorithm>
#include <array>
#include <vector>

#include "core/parallel.h"
#include "dedup/sketch.h"
#include "text/shingle_words.h"

namespace fasttrain::dedup {
namespace {

void minhash_with(text::WordsFn split, SketchUpdateFn update, const MinhashArgs& p) noexcept {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) {
    text::Words words;
    std::vector<std::uint64_t> grams;
    for (std::size_t d = begin; d < end; ++d) {
      std::uint32_t* sig = p.sig + d * p.K;
      std::fill_n(sig, p.K, 0xffffffffu);
      const std::size_t total = text::for_each_ngram(
          split, p.data + p.offsets[d], static_cast<std::size_t>(p.offsets[d + 1] - p.offsets[d]), p.n, words, grams,
          [&](const std::uint64_t* gram, std::size_t count) { update(gram, count, p.a, p.b, p.K, sig); });
      p.words[d] = static_cast<std::int64_t>(total);
    }
  });
}

}  // namespace

void minhash_scalar(const MinhashArgs& p) noexcept { minhash_with(text::words_scalar, sketch_update_scalar, p); }
void minhash_avx2(const MinhashArgs& p) noexcept { minhash_with(text::words_avx2, sketch_update_avx2, p); }
void minhash_avx512(const MinhashArgs& p) noexcept { minhash_with(text::words_avx2, sketch_update_avx512, p); }

std::span<const Impl<MinhashFn>> minhash_impls() {
  static constexpr std::array<Impl<MinhashFn>, 3> impls{{
      {"avx512", Isa::avx512, minhash_avx512},
      {"avx2", Isa::avx2, minhash_avx2},
      {"scalar", Isa::any, minhash_scalar},
  }};
  return impls;
}

}  // namespace fasttrain::dedup
