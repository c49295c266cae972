// normalize: implementations agree for every step, also about where bytes come from; a form made once does not change
// again, and forms decompose and compose to each other.

#include "tokenizer/normalize.h"

#include <string>

#include "fuzz.h"

using namespace fasttrain;
using namespace fasttrain::tokenizer;

namespace {

struct Made {
  std::vector<std::uint8_t> data;
  std::vector<std::int64_t> ends, source;
  bool operator==(const Made&) const = default;
};

Made run(NormalizeFn fn, Normalization step, const std::vector<std::uint8_t>& data, const std::vector<std::int64_t>& offsets, bool is_aligned) {
  const std::size_t room = data.size() * normalize_growth(step), N = offsets.size() - 1;
  Made made{std::vector<std::uint8_t>(room), std::vector<std::int64_t>(N + 1), std::vector<std::int64_t>(is_aligned ? room : 0)};
  fn({data.data(), offsets.data(), made.data.data(), is_aligned ? made.source.data() : nullptr, made.ends.data(), N, step, 1});
  if (made.ends[N] < 0) {  // nothing changes
    made.data = data, made.ends = offsets;
    return made;
  }
  FUZZ_REQUIRE(made.ends[0] == 0 && made.ends[N] <= static_cast<std::int64_t>(room));
  for (std::size_t n = 0; n < N; ++n) FUZZ_REQUIRE(made.ends[n] <= made.ends[n + 1]);
  made.data.resize(static_cast<std::size_t>(made.ends[N]));
  if (!is_aligned) return made;
  made.source.resize(made.data.size());
  for (std::size_t n = 0; n < N; ++n)
    for (auto k = static_cast<std::size_t>(made.ends[n]); k < static_cast<std::size_t>(made.ends[n + 1]); ++k)
      FUZZ_REQUIRE(made.source[k] >= -1 && made.source[k] < offsets[n + 1] - offsets[n]);
  return made;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const fuzz::Texts texts = fuzz::Input(bytes, size).texts();
  for (int k = 0; k < num_normalizations; ++k) {
    const auto step = static_cast<Normalization>(k);
    fuzz::Agree<Made> answers, aligned;
    fuzz::each(normalize_impls(), [&](NormalizeFn fn) {
      answers(run(fn, step, texts.data, texts.offsets, false));
      aligned(run(fn, step, texts.data, texts.offsets, true));
    });
    const Made& made = answers.first();
    FUZZ_REQUIRE(made.data == aligned.first().data && made.ends == aligned.first().ends);
    if (step > Normalization::nfkd) continue;
    const auto again = [&](Normalization then) { return run(normalize_scalar, then, made.data, made.ends, false).data; };
    FUZZ_REQUIRE(again(step) == made.data);
    // Through the decomposed form to the composed one, and back.
    const bool is_compatible = step == Normalization::nfkc || step == Normalization::nfkd;
    const Normalization composed = is_compatible ? Normalization::nfkc : Normalization::nfc;
    const Normalization decomposed = is_compatible ? Normalization::nfkd : Normalization::nfd;
    FUZZ_REQUIRE(again(composed) == run(normalize_scalar, composed, texts.data, texts.offsets, false).data);
    FUZZ_REQUIRE(again(decomposed) == run(normalize_scalar, decomposed, texts.data, texts.offsets, false).data);
  }
  return 0;
}
