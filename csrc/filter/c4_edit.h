#pragma once /* part of c4_lines */
// One text of c4_lines, for every instruction set.

#include <algorithm>
#include <limits>

#include "filter/lines.h"

namespace fasttrain::filter {

// Writes the edited text at `out` (room for data's bytes); returns its length, or -1 - position of a bad byte.
template <auto classify_ascii>
FT_INLINE std::int64_t c4_edit(const std::uint8_t* data, std::size_t n, const C4LinesRules& rules, std::uint8_t* out,
                               Masks& m, LineScratch& s) {
  if (const std::int64_t bad = build<classify_ascii>(m, data, n); bad >= 0) return -1 - bad;
  prepare_lines(m, s);
  std::size_t length = 0, phrase = 0;
  bool any = false;
  each_line(
      m, [&](std::size_t a, std::size_t b) __attribute__((always_inline)) {
        a = find<false>(m.mask(mk_space), a, b);
        b = last_clear(m.mask(mk_space), a, b);
        const LineFate fate = judge(m, s, rules, a, b, phrase);
        if (fate.reason != line_kept) return;
        if (any) out[length++] = '\n';
        any = true;
        if (fate.bytes > 0) std::memcpy(out + length, fate.text, fate.bytes);
        length += fate.bytes;
      });
  if (length == 0) return 0;
  // A line that lost a citation at its end may leave spaces there, and empty lines may stand at both ends.
  build<classify_ascii>(m, out, length);
  const std::size_t a = find<false>(m.mask(mk_space), 0, length), b = last_clear(m.mask(mk_space), a, length);
  if (a > 0) std::memmove(out, out + a, b - a);
  return static_cast<std::int64_t>(b - a);
}

// Turns lengths (or bad bytes) of separately written texts into one text after another.
inline void compact(const C4LinesArgs& p) noexcept {
  p.bad[0] = p.bad[1] = -1;
  std::int64_t at = 0;
  for (std::size_t n = 0; n < p.N; ++n) {
    const std::int64_t length = p.out_offsets[n + 1], from = p.offsets[n] - p.offsets[0];
    if (length < 0) {
      p.bad[0] = static_cast<std::int64_t>(n);
      p.bad[1] = -1 - length;
      return;
    }
    if (at != from && length > 0) std::memmove(p.out + at, p.out + from, static_cast<std::size_t>(length));
    p.out_offsets[n] = at;
    at += length;
  }
  p.out_offsets[p.N] = at;
}

}  // namespace fasttrain::filter
