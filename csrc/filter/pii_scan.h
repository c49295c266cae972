#pragma once /* part of pii */
// The rules of pii_ref.py over one text. `Next` finds the next byte that can start or anchor a finding: a digit, '@',
// '+' or '('; everything else is the same code for every instruction set.

#include <cstddef>
#include <cstdint>

#include "core/parallel.h"
#include "filter/pii.h"

namespace fasttrain::filter {

struct PiiText {
  const std::uint8_t* s;
  std::size_t size;
  int at(std::size_t i) const noexcept { return i < size ? s[i] : -1; }  // -1 beyond the end
};

struct PiiSpan {
  std::size_t begin, end;  // empty: nothing found
  std::uint8_t kind;
};

PiiSpan pii_at(const PiiText& text, std::size_t i, std::size_t last) noexcept;

inline bool is_trigger(std::uint8_t c) noexcept { return (c >= '0' && c <= '9') || c == '@' || c == '+' || c == '('; }

// Emits (begin, end, kind) for every finding of one text, in order.
template <typename Next, typename Emit>
void pii_scan(const PiiText& text, const Next& next, const Emit& emit) noexcept {
  std::size_t last = 0;
  for (std::size_t i = next(text, 0); i < text.size; i = next(text, i)) {
    const PiiSpan found = pii_at(text, i, last);
    if (found.end > found.begin) {
      emit(found);
      last = i = found.end;
    } else {
      ++i;
    }
  }
}

template <typename Next>
void pii_run(const PiiArgs& p, const Next& next) noexcept {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t n = begin; n < end; ++n) {
      const PiiText text{p.data + p.offsets[n], static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n])};
      std::int64_t m = p.begins == nullptr ? 0 : p.starts[n];
      pii_scan(text, next, [&](const PiiSpan& found) {
        if (p.begins != nullptr) {
          p.begins[m] = static_cast<std::int64_t>(found.begin);
          p.ends[m] = static_cast<std::int64_t>(found.end);
          p.kinds[m] = found.kind;
        }
        ++m;
      });
      if (p.begins == nullptr) p.counts[n] = m;
    }
  });
}

}  // namespace fasttrain::filter
