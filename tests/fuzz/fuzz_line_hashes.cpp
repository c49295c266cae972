// Hashes of spans of arbitrary bytes: the implementations agree, and none reads outside its span. The first byte says how
// many spans the rest is cut into.

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dedup/line_hashes.h"

using namespace fasttrain;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t spans = 1 + bytes[0] % 9u, n = size - 1;
  const std::vector<std::uint8_t> data(bytes + 1, bytes + size);
  std::vector<std::int64_t> begins, ends;
  for (std::size_t s = 0; s < spans; ++s) {
    begins.push_back(static_cast<std::int64_t>(n * s / spans));
    ends.push_back(static_cast<std::int64_t>(n * (s + 1) / spans));
  }
  std::vector<std::uint64_t> wanted;
  std::vector<std::int64_t> counted;
  bool first = true;
  for (const auto& impl : dedup::line_hashes_impls()) {
    if (!cpu_has(impl.needs)) continue;
    std::vector<std::uint64_t> hash(spans);
    std::vector<std::int64_t> words(spans);
    impl.fn({data.data(), begins.data(), ends.data(), hash.data(), words.data(), spans, bytes[0] >= 128, 1});
    if (first) wanted = hash, counted = words;
    first = false;
    if (hash != wanted || words != counted) std::abort();
  }
  return 0;
}
