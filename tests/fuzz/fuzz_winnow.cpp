// Anchors of arbitrary texts: the ones that the definition gives, however many there is room for.

#include "dedup/winnow.h"

#include <algorithm>
#include <tuple>

#include "fuzz.h"
#include "text/shingle_words.h"

using namespace fasttrain;

namespace {

using Anchor = std::tuple<std::uint64_t, std::int64_t, std::int64_t>;

std::vector<Anchor> by_definition(const fuzz::Texts& texts, std::size_t k, std::size_t w) {
  std::vector<Anchor> found;
  for (std::size_t n = 0; n < texts.N(); ++n) {
    const std::uint8_t* data = texts.data.data() + texts.offsets[n];
    const std::size_t bytes = texts.bytes(n);
    if (bytes < k + w - 1) continue;
    std::vector<std::uint64_t> hash(bytes - k + 1);
    for (std::size_t i = 0; i < hash.size(); ++i) {
      std::uint64_t sum = 0;
      for (std::size_t j = 0; j < k; ++j) sum = sum * text::ngram_base + data[i + j];
      hash[i] = text::mix64(sum);
    }
    for (std::size_t i = 0; i + w <= hash.size(); ++i) {
      const auto first = hash.begin() + static_cast<std::ptrdiff_t>(i);
      const auto best = std::min_element(first, first + static_cast<std::ptrdiff_t>(w)) - hash.begin();
      const Anchor anchor{hash[static_cast<std::size_t>(best)], static_cast<std::int64_t>(n), best};
      if (found.empty() || found.back() != anchor) found.push_back(anchor);
    }
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const std::size_t k = 1 + in.take() % 40u, w = 1 + in.take() % 40u, less = in.take() % 4u;
  const fuzz::Texts texts = in.texts();
  const std::vector<Anchor> wanted = by_definition(texts, k, w);
  const std::size_t room = wanted.size() - std::min(wanted.size(), less);
  fuzz::each(dedup::winnow_impls(), [&](dedup::WinnowFn fn) {
    std::vector<std::uint64_t> hash(room);
    std::vector<std::int64_t> text(room), begin(room);
    dedup::WinnowArgs args{texts.data.data(), texts.offsets.data(), hash.data(), text.data(), begin.data(),
                           room,              texts.N(),            k,           w};
    fn(args);
    FUZZ_REQUIRE(args.found == wanted.size());
    for (std::size_t i = 0; i < room; ++i) FUZZ_REQUIRE(wanted[i] == Anchor(hash[i], text[i], begin[i]));
  });
  return 0;
}
