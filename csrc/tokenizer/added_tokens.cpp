#include "tokenizer/added_tokens.h"

#include <algorithm>
#include <cstring>
#include <functional>

namespace fasttrain::tokenizer {

AddedTokens::AddedTokens(const std::uint8_t* data, const std::int64_t* offsets, const std::uint32_t* ids,
                         std::size_t num)
    : bytes_(data + (num ? offsets[0] : 0), data + (num ? offsets[num] : 0)) {
  ids_.reserve(num);
  for (std::size_t k = 0; k < num; ++k) {
    const auto bytes = static_cast<std::size_t>(offsets[k + 1] - offsets[k]);
    ids_.emplace(std::string_view(bytes_.data() + (offsets[k] - offsets[0]), bytes), ids[k]);
    const std::uint8_t* p = data + offsets[k];
    const std::uint32_t start = bytes == 1 ? 0x10000u + p[0] : std::uint32_t{p[0]} << 8 | p[1];
    Lengths& lengths = lengths_[start];
    const auto at = std::lower_bound(lengths.begin(), lengths.end(), bytes, std::greater<>());
    if (at == lengths.end() || *at != bytes) lengths.insert(at, bytes);
    begins_[p[0]] = true;
  }
  if (std::count(begins_.begin(), begins_.end(), true) == 1)
    only_first_ = static_cast<int>(std::find(begins_.begin(), begins_.end(), true) - begins_.begin());
}

// The next byte that some token begins with.
const std::uint8_t* AddedTokens::candidate(const std::uint8_t* p, const std::uint8_t* end) const noexcept {
  if (only_first_ >= 0) {
    const void* found = std::memchr(p, only_first_, static_cast<std::size_t>(end - p));
    return found ? static_cast<const std::uint8_t*>(found) : end;
  }
  while (p < end && !begins_[*p]) ++p;
  return p;
}

AddedTokens::Match AddedTokens::find(const std::uint8_t* p, const std::uint8_t* end) const {
  const auto longest = [&](std::uint32_t start, const std::uint8_t* at) -> Match {
    const auto found = lengths_.find(start);
    if (found == lengths_.end()) return {end, 0, 0};
    for (const std::size_t bytes : found->second) {
      if (bytes > static_cast<std::size_t>(end - at)) continue;
      const auto it = ids_.find(std::string_view(reinterpret_cast<const char*>(at), bytes));
      if (it != ids_.end()) return {at, bytes, it->second};
    }
    return {end, 0, 0};
  };
  for (p = candidate(p, end); p < end; p = candidate(p + 1, end)) {
    if (end - p >= 2)
      if (const Match match = longest(std::uint32_t{p[0]} << 8 | p[1], p); match.bytes != 0) return match;
    if (const Match match = longest(0x10000u + p[0], p); match.bytes != 0) return match;
  }
  return {end, 0, 0};
}

}  // namespace fasttrain::tokenizer
