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

enum PiiKind : std::uint8_t { email, ip, phone, card, iban, national_id, secret };

constexpr PiiSpan nothing{0, 0, 0};

inline bool digit(int c) noexcept { return c >= '0' && c <= '9'; }
inline bool upper(int c) noexcept { return c >= 'A' && c <= 'Z'; }
inline bool letter(int c) noexcept { return upper(c) || (c >= 'a' && c <= 'z'); }
inline bool alnum(int c) noexcept { return letter(c) || digit(c); }
// A neighbour that makes a candidate part of something longer. Bytes from 0x80 are letters of other scripts, mostly.
inline bool word(int c) noexcept { return alnum(c) || c == '_' || c >= 0x80; }
inline bool local(int c) noexcept { return alnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-'; }
inline int before(const PiiText& t, std::size_t i) noexcept { return i > 0 ? t.s[i - 1] : -1; }

PiiSpan pii_at(const PiiText& text, std::size_t i, std::size_t last) noexcept;

// Secrets (pii_secrets.cpp). `i` is a digit behind something else, or for the password the '@'.
PiiSpan find_secret(const PiiText& text, std::size_t i, std::size_t last) noexcept;
std::size_t userinfo_at(const PiiText& text, std::size_t at, std::size_t last) noexcept;  // size: none
PiiSpan find_password(const PiiText& text, std::size_t begin, std::size_t at) noexcept;
PiiSpan next_key_block(const PiiText& text, std::size_t from) noexcept;  // begin = size: none

inline bool is_trigger(std::uint8_t c) noexcept { return (c >= '0' && c <= '9') || c == '@' || c == '+' || c == '('; }

// Emits (begin, end, kind) for every finding of one text, in order.
template <typename Next, typename Emit>
void pii_scan(const PiiText& text, const Next& next, const Emit& emit) noexcept {
  std::size_t last = 0;
  PiiSpan block = next_key_block(text, 0);
  for (std::size_t i = next(text, 0);; i = next(text, i)) {
    if (block.begin < last) block = next_key_block(text, last);
    const bool in_block = block.begin < text.size && i >= block.begin;
    if (!in_block && i >= text.size) return;
    const PiiSpan found = in_block ? block : pii_at(text, i, last);
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
