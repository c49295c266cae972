// pretokenize: implementations agree for every pattern; the pieces of a text are the text.

#include "tokenizer/pretokenize.h"

#include "fuzz.h"
#include "tokenizer/scan.h"

using namespace fasttrain;
using namespace fasttrain::tokenizer;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const fuzz::Texts texts = fuzz::Input(bytes, size).texts();
  const std::size_t N = texts.N();
  for (int pattern = 0; pattern < Pattern::count; ++pattern) {
    fuzz::Agree<std::vector<std::int64_t>> answers;
    fuzz::each(pretokenize_impls(), [&](PretokenizeFn fn) {
      std::vector<std::int64_t> ends(texts.data.size()), counts(N), all;
      fn({texts.data.data(), texts.offsets.data(), ends.data(), counts.data(), N, pattern, 1});
      for (std::size_t n = 0; n < N; ++n) {
        const auto room = static_cast<std::int64_t>(texts.bytes(n));
        FUZZ_REQUIRE(counts[n] >= 0 && counts[n] <= room);
        std::int64_t last = 0;
        for (std::int64_t k = 0; k < counts[n]; ++k) {
          const std::int64_t end = ends[static_cast<std::size_t>(texts.offsets[n] + k)];
          FUZZ_REQUIRE(end > last && end <= room);
          all.push_back(last = end);
        }
        FUZZ_REQUIRE(last == room);
      }
      answers(all);
    });
  }
  return 0;
}
