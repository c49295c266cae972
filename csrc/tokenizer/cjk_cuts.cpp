#include "tokenizer/cjk_cuts.h"

namespace fasttrain::tokenizer {

void CjkCuts::add_token(const std::uint8_t* token, std::size_t bytes) {
  for (std::size_t j = 1; j < bytes; ++j) {
    if (token[j] < 0xE3 || token[j] >= 0xF0) continue;
    const std::uint8_t* p = token + j;
    const bool has_left = j >= 3, has_right = bytes - j >= 3;
    if ((has_left && !starts_wide(p - 3)) || (has_right && !starts_wide(p))) continue;  // meets no place that is asked
    if (has_left && has_right)
      set(pairs_, pair(code(p - 3), code(p)));
    else if (has_left)
      set(left_, code(p - 3));
    else if (has_right)
      set(right_, code(p));
    else
      set(edge_, (p[-1] & 63u) << 4 | (p[0] & 15u));
  }
}

}  // namespace fasttrain::tokenizer
