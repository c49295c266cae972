#include "filter/masks.h"

#include <array>

namespace fasttrain::filter {
namespace {

// Class of each ASCII byte as bits of the masks that classify_ascii writes.
constexpr std::array<std::uint16_t, 256> ascii = [] {
  std::array<std::uint16_t, 256> table{};
  for (int c = 0; c < 256; ++c) {
    std::uint32_t bits = 0;
    const bool letter = (c | 32) >= 'a' && (c | 32) <= 'z', digit = c >= '0' && c <= '9';
    const bool breaks = (c >= 10 && c <= 13) || (c >= 28 && c <= 30);
    const int lower = c | 32;
    if (c >= 128) {
      bits = 1u << mk_unicode;
    } else {
      bits |= letter ? 1u << mk_letter | 1u << mk_prose : 0;
      bits |= c >= 'A' && c <= 'Z' ? 1u << mk_upper : 0;
      bits |= digit ? 1u << mk_number | 1u << mk_prose : 0;
      bits |= c == '_' ? 1u << mk_mark : 0;
      bits |= c == ' ' || c == '\t' || breaks || c == 31 ? 1u << mk_space : 0;
      bits |= c == '.' || c == '?' || c == '!' ? 1u << mk_terminal : 0;
      bits |= breaks ? 1u << mk_break : 0;
      bits |= c == '\n' ? 1u << mk_newline : 0;
      bits |= c == '\'' || c == '.' ? 1u << mk_joiner : 0;
      bits |= c == ',' ? 1u << mk_comma : 0;
      bits |= letter && (lower == 'j' || lower == 'k' || lower == 'v' || lower == 'm' || lower == 'p') ? 1u << mk_phrase
                                                                                                       : 0;
    }
    table[static_cast<std::size_t>(c)] = static_cast<std::uint16_t>(bits);
  }
  return table;
}();

}  // namespace

bool classify_ascii_scalar(Masks& m) noexcept {
  std::uint64_t any = 0;
  for (std::size_t w = 0; w < m.words - 2; ++w) {
    std::uint64_t word[mk_inner] = {};
    const std::uint8_t* p = m.text.data() + w * 64;
    const std::size_t count = m.n - w * 64 < 64 ? m.n - w * 64 : 64;
    for (std::size_t i = 0; i < count; ++i) {
      std::uint32_t bits = ascii[p[i]];
      if (w + i > 0 && p[i] == p[static_cast<std::ptrdiff_t>(i) - 1]) bits |= 1u << mk_same;
      for (; bits != 0; bits &= bits - 1) word[std::countr_zero(bits)] |= 1ULL << i;
    }
    for (int k = 0; k < mk_inner; ++k) m.mask(k)[w] = word[k];
    any |= word[mk_unicode];
  }
  return any != 0;
}

}  // namespace fasttrain::filter
