// hash128: implementations agree, and a hash depends on the bytes alone, not on where they lie.

#include "text/hash128.h"

#include "fuzz.h"

using namespace fasttrain;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const auto seed = in.take<std::uint32_t>();
  const fuzz::Texts texts = in.texts();
  const std::size_t N = texts.N();
  fuzz::Agree<std::vector<std::uint64_t>> hashes;
  fuzz::each(text::hash128_impls(), [&](text::Hash128Fn fn) {
    std::vector<std::uint64_t> out(2 * N);
    fn({texts.data.data(), texts.offsets.data(), out.data(), N, seed, 1});
    hashes(out);
  });
  for (std::size_t n = 0; n < N; ++n) {
    const std::vector<std::uint8_t> alone(texts.data.begin() + texts.offsets[n], texts.data.begin() + texts.offsets[n + 1]);
    std::uint64_t one[2];
    text::murmur3_128(alone.data(), alone.size(), seed, one);
    FUZZ_REQUIRE(one[0] == hashes.first()[2 * n] && one[1] == hashes.first()[2 * n + 1]);
  }
  return 0;
}
