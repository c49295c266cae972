#include "tokenizer/unicode_ln.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <string>

namespace fasttrain::tokenizer {
namespace {

struct Range {
  std::uint32_t first, last;
};
#include "tokenizer/unicode_ln.inc"

std::unique_ptr<const UnicodeClasses> build() {
  std::vector<std::uint8_t> flat(0x110000, other);
  const auto fill = [&flat](const auto& ranges, std::uint8_t bits) {
    for (const Range& r : ranges)
      for (std::uint32_t c = r.first; c <= r.last; ++c) flat[c] |= bits;
  };
  constexpr Range ranges_cjk[] = {{0x4E00, 0x9FA5}, {0x3040, 0x30FF}};
  fill(ranges_L, letter);
  fill(ranges_N, number);
  fill(ranges_S, space);
  fill(ranges_UPPER, upper);
  fill(ranges_LOWER, lower);
  fill(ranges_MARK, mark);
  fill(ranges_PUNCT, punct);
  fill(ranges_cjk, cjk);
  auto table = std::make_unique<UnicodeClasses>();
  std::map<std::string, std::uint8_t> seen;  // 256 code points -> page number
  for (std::size_t p = 0; p < std::size(table->page); ++p) {
    const std::string page(flat.begin() + p * 256, flat.begin() + (p + 1) * 256);
    const auto [it, is_new] = seen.emplace(page, static_cast<std::uint8_t>(seen.size()));
    if (is_new) table->pages.insert(table->pages.end(), page.begin(), page.end());
    table->page[p] = it->second;
  }
  for (int c = 0; c < 256; ++c) table->ascii[c] = c < 0x80 ? flat[c] : 0xFF;
  return table;
}

}  // namespace

const UnicodeClasses& unicode_classes() {
  static const std::unique_ptr<const UnicodeClasses> table = build();
  return *table;
}

}  // namespace fasttrain::tokenizer
