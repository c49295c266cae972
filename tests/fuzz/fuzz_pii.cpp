// pii: implementations agree, counting and filling agree, findings lie in their text, in order, apart.

#include "filter/pii.h"

#include "fuzz.h"

using namespace fasttrain;
using namespace fasttrain::filter;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const fuzz::Texts texts = fuzz::Input(bytes, size).texts();
  const std::size_t N = texts.N();
  fuzz::Agree<std::vector<std::int64_t>> answers;
  fuzz::each(pii_impls(), [&](PiiFn fn) {
    std::vector<std::int64_t> counts(N), starts(N + 1);
    fn({texts.data.data(), texts.offsets.data(), counts.data(), nullptr, nullptr, nullptr, nullptr, N, 1});
    for (std::size_t n = 0; n < N; ++n) starts[n + 1] = starts[n] + counts[n];
    const auto M = static_cast<std::size_t>(starts[N]);
    std::vector<std::int64_t> begins(M, -1), ends(M, -1);
    std::vector<std::uint8_t> kinds(M);
    if (M > 0)
      fn({texts.data.data(), texts.offsets.data(), nullptr, starts.data(), begins.data(), ends.data(), kinds.data(), N,
          1});
    for (std::size_t n = 0; n < N; ++n) {
      std::int64_t last = 0;
      for (auto m = static_cast<std::size_t>(starts[n]); m < static_cast<std::size_t>(starts[n + 1]); ++m) {
        FUZZ_REQUIRE(begins[m] >= last && ends[m] > begins[m]);
        FUZZ_REQUIRE(ends[m] <= static_cast<std::int64_t>(texts.bytes(n)));
        last = ends[m];
      }
    }
    std::vector<std::int64_t> all = starts;
    all.insert(all.end(), begins.begin(), begins.end());
    all.insert(all.end(), ends.begin(), ends.end());
    all.insert(all.end(), kinds.begin(), kinds.end());
    answers(all);
  });
  return 0;
}
