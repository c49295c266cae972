// ngram_overlap: the first text is the index, all texts are asked; hits are exactly the shingles that the index holds.

#include "decontam/ngram_overlap.h"

#include <algorithm>
#include <bit>

#include "fuzz.h"
#include "text/shingle.h"

using namespace fasttrain;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const std::size_t n = 1 + in.take() % 8u;
  const fuzz::Texts texts = in.texts();
  const std::size_t N = texts.N();
  std::size_t capacity = 0;
  for (std::size_t t = 0; t < N; ++t) capacity += (texts.bytes(t) + 1) / 2;
  std::vector<std::uint64_t> grams(capacity);
  std::vector<std::int64_t> first(N + 1), words(N + 1), want;
  text::shingle_scalar({texts.data.data(), texts.offsets.data(), grams.data(), first.data(), N, n, false, 1});
  std::vector<std::uint64_t> single(capacity);
  text::shingle_scalar({texts.data.data(), texts.offsets.data(), single.data(), words.data(), N, 1, false, 1});
  const auto whole = [&](std::size_t t) { return words[t + 1] - words[t] >= static_cast<std::int64_t>(n); };

  std::vector<std::uint64_t> keys;
  if (whole(0)) keys.assign(grams.begin(), grams.begin() + first[1]);
  std::sort(keys.begin(), keys.end());
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  keys.shrink_to_fit();
  std::vector<std::uint64_t> filter(std::bit_ceil(std::max<std::size_t>(1, keys.size() / 4)));
  for (const std::uint64_t h : keys)
    filter[(h / 64) % filter.size()] |= std::uint64_t{1} << (h % 64) | std::uint64_t{1} << (h >> 58);
  std::vector<std::int64_t> asked(N);
  for (std::size_t t = 0; t < N; ++t) {
    asked[t] = static_cast<std::int64_t>(t);
    if (!whole(t)) continue;
    for (std::int64_t i = first[t]; i < first[t + 1]; ++i) {
      const auto at = std::lower_bound(keys.begin(), keys.end(), grams[static_cast<std::size_t>(i)]);
      if (at == keys.end() || *at != grams[static_cast<std::size_t>(i)]) continue;
      want.insert(want.end(), {static_cast<std::int64_t>(t), i - first[t], at - keys.begin()});
    }
  }
  fuzz::each(decontam::ngram_overlap_impls(), [&](decontam::NgramOverlapFn fn) {
    std::vector<std::int64_t> counts(N), starts(N + 1);
    decontam::NgramOverlapArgs args{texts.data.data(), texts.offsets.data(), asked.data(), keys.data(), filter.data(),
                                    counts.data(), nullptr, nullptr, nullptr, N, keys.size(), filter.size(), n, 1};
    fn(args);
    for (std::size_t t = 0; t < N; ++t) starts[t + 1] = starts[t] + counts[t];
    const auto M = static_cast<std::size_t>(starts[N]);
    FUZZ_REQUIRE(3 * M == want.size());
    if (M == 0) return;
    std::vector<std::int64_t> at(M), gram(M), got;
    args.counts = nullptr, args.starts = starts.data(), args.words = at.data(), args.grams = gram.data();
    fn(args);
    for (std::size_t t = 0; t < N; ++t)
      for (auto m = static_cast<std::size_t>(starts[t]); m < static_cast<std::size_t>(starts[t + 1]); ++m)
        got.insert(got.end(), {static_cast<std::int64_t>(t), at[m], gram[m]});
    FUZZ_REQUIRE(got == want);
  });
  return 0;
}
