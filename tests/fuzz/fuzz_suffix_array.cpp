// The suffix array of arbitrary bytes is a permutation, its neighbours ascend, and each common prefix is exact.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "dedup/suffix_array.h"

using namespace fasttrain;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  const std::vector<std::uint8_t> text(bytes, bytes + size);
  for (const auto& impl : dedup::suffix_array_impls()) {
    if (!cpu_has(impl.needs)) continue;
    std::vector<std::int32_t> sa(size), lcp(size);
    impl.fn({text.data(), sa.data(), lcp.data(), size});
    std::vector<bool> seen(size);
    for (std::size_t k = 0; k < size; ++k) {
      const auto i = static_cast<std::size_t>(sa[k]);
      if (i >= size || seen[i]) std::abort();
      seen[i] = true;
      if (k == 0) {
        if (lcp[0] != 0) std::abort();
        continue;
      }
      const auto before = static_cast<std::size_t>(sa[k - 1]), common = static_cast<std::size_t>(lcp[k]);
      if (common + std::max(i, before) > size) std::abort();
      const auto at = [&](std::size_t p) { return text.begin() + static_cast<std::ptrdiff_t>(p); };
      if (!std::equal(at(before), at(before + common), at(i))) std::abort();
      if (i + common == size) std::abort();  // a prefix of the suffix before it would sort first
      if (before + common < size && text[before + common] >= text[i + common]) std::abort();
    }
  }
  return 0;
}
