// shingle, minhash and sketch: implementations agree, a signature is the sketch of the text's shingles.

#include "dedup/minhash.h"

#include <algorithm>

#include "dedup/sketch.h"
#include "fuzz.h"
#include "text/shingle.h"

using namespace fasttrain;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const std::size_t n = 1 + in.take() % 14u, K = 1 + in.take() % 130u;
  const bool sets = in.take() % 2u == 0;
  const auto seed = in.take<std::uint32_t>();
  const fuzz::Texts texts = in.texts();
  const std::size_t N = texts.N();
  std::size_t capacity = 0;
  for (std::size_t t = 0; t < N; ++t) capacity += (texts.bytes(t) + 1) / 2;
  std::vector<std::uint32_t> a(K), b(K);
  for (std::size_t k = 0; k < K; ++k) {
    a[k] = static_cast<std::uint32_t>((seed + k) * 0x9E3779B1u) | 1;
    b[k] = static_cast<std::uint32_t>((seed ^ k) * 0x85EBCA77u);
  }
  fuzz::Agree<std::vector<std::uint64_t>> grams;
  fuzz::Agree<std::vector<std::int64_t>> starts, words;
  fuzz::each(text::shingle_impls(), [&](text::ShingleFn fn) {
    std::vector<std::uint64_t> out(capacity);
    std::vector<std::int64_t> ends(N + 1);
    fn({texts.data.data(), texts.offsets.data(), out.data(), ends.data(), N, n, sets, 1});
    FUZZ_REQUIRE(ends[0] == 0 && ends[N] <= static_cast<std::int64_t>(capacity));
    out.resize(static_cast<std::size_t>(ends[N]));
    if (sets)
      for (std::size_t t = 0; t < N; ++t)
        FUZZ_REQUIRE(std::is_sorted(out.begin() + ends[t], out.begin() + ends[t + 1]));
    starts(ends);
    grams(out);
  });
  fuzz::Agree<std::vector<std::uint32_t>> signatures;
  fuzz::each(dedup::minhash_impls(), [&](dedup::MinhashFn fn) {
    std::vector<std::uint32_t> sig(N * K);
    std::vector<std::int64_t> count(N);
    fn({texts.data.data(), texts.offsets.data(), a.data(), b.data(), sig.data(), count.data(), N, K, n, 1});
    signatures(sig);
    words(count);
  });
  const std::vector<std::uint64_t> exact(grams.first().begin(), grams.first().end());
  fuzz::each(dedup::sketch_impls(), [&](dedup::SketchFn fn) {
    std::vector<std::uint32_t> sig(N * K);
    fn({exact.data(), starts.first().data(), a.data(), b.data(), sig.data(), N, K, 1});
    signatures(sig);
  });
  return 0;
}
