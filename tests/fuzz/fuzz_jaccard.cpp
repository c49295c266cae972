// jaccard: the common members of every pair, against std::set_intersection.

#include "dedup/jaccard.h"

#include <algorithm>
#include <iterator>

#include "fuzz.h"

using namespace fasttrain;

namespace {

struct Sets {
  std::vector<std::uint64_t> members;
  std::vector<std::int64_t> offsets{0};
};

// Sets of small numbers, so that they meet; the byte is the number, the place spreads it over 64 bits.
Sets sets_of(const fuzz::Texts& texts, std::size_t begin, std::size_t end) {
  Sets out;
  for (std::size_t n = begin; n < end; ++n) {
    std::vector<std::uint64_t> set;
    for (auto i = texts.offsets[n]; i < texts.offsets[n + 1]; ++i)
      set.push_back(std::uint64_t{texts.data[static_cast<std::size_t>(i)]} * 0x0101010101010101u);
    std::sort(set.begin(), set.end());
    set.erase(std::unique(set.begin(), set.end()), set.end());
    out.members.insert(out.members.end(), set.begin(), set.end());
    out.offsets.push_back(static_cast<std::int64_t>(out.members.size()));
  }
  out.members.shrink_to_fit();
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const fuzz::Texts texts = fuzz::Input(bytes, size).texts();
  const std::size_t Na = (texts.N() + 1) / 2, Nb = texts.N() - Na;
  if (Nb == 0 || texts.N() > 40) return 0;
  const Sets a = sets_of(texts, 0, Na), b = sets_of(texts, Na, texts.N());
  std::vector<std::int64_t> pairs, want;
  for (std::size_t i = 0; i < Na; ++i) {
    for (std::size_t j = 0; j < Nb; ++j) {
      pairs.insert(pairs.end(), {static_cast<std::int64_t>(i), static_cast<std::int64_t>(j)});
      std::vector<std::uint64_t> common;
      std::set_intersection(a.members.begin() + a.offsets[i], a.members.begin() + a.offsets[i + 1],
                            b.members.begin() + b.offsets[j], b.members.begin() + b.offsets[j + 1],
                            std::back_inserter(common));
      want.push_back(static_cast<std::int64_t>(common.size()));
    }
  }
  fuzz::each(dedup::jaccard_impls(), [&](dedup::JaccardFn fn) {
    std::vector<std::int64_t> common(Na * Nb);
    fn({a.members.data(), a.offsets.data(), b.members.data(), b.offsets.data(), pairs.data(), common.data(), Na * Nb, 1});
    FUZZ_REQUIRE(common == want);
  });
  return 0;
}
