// A fastText file of arbitrary bytes: refused with a FasttextError, or a model that answers without reading outside its
// arrays. The last byte gives the length of the texts asked, which are the end of the file itself.

#include <algorithm>

#include "filter/fasttext.h"
#include "fuzz.h"

using namespace fasttrain::filter;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::vector<std::uint8_t> file(bytes, bytes + size);
  try {
    const FasttextModel model(file.data(), file.size());
    const std::size_t tail = size == 0 ? 0 : std::min<std::size_t>(file.back(), size);
    const std::vector<std::uint8_t> text(file.end() - static_cast<std::ptrdiff_t>(tail), file.end());
    const std::int64_t length = static_cast<std::int64_t>(tail);
    const std::vector<std::int64_t> offsets{0, length / 3, length};
    const std::size_t K = std::min<std::size_t>(model.L, 3);
    std::vector<std::int32_t> labels(2 * K);
    std::vector<float> probs(2 * K);
    for (const auto& impl : fasttext_impls())
      impl.fn.predict({&model, text.data(), offsets.data(), labels.data(), probs.data(), 2, K, 100, 1});
    for (const std::int32_t label : labels) FUZZ_REQUIRE(label >= -1 && label < static_cast<std::int32_t>(model.L));
  } catch (const FasttextError&) {
  }
  return 0;
}
