#include "text/shingle_words.h"

#include <array>
#include <cstring>

#include "text/fold_tables.h"

namespace fasttrain::text {
namespace {

enum Kind : std::uint32_t { letter, brk, drop, digit_kind, ideograph, hangul, many };
constexpr std::uint32_t kind_shift = 24;
constexpr std::size_t window = 16 << 10, longest_window = std::size_t{1} << 30;

// kind << 24 | what the code point becomes (or its place in fold_many). 4.4 MB, of which a text touches a few pages.
const std::vector<std::uint32_t>& table() noexcept {
  static const std::vector<std::uint32_t> entries = [] {
    std::vector<std::uint32_t> t(0x110000);
    for (std::uint32_t cp = 0; cp < t.size(); ++cp) t[cp] = cp;
    for (const auto& r : fold_ranges)
      for (std::uint32_t cp = r.first; cp <= r.last; ++cp) t[cp] |= std::uint32_t{r.kind} << kind_shift;
    for (const auto& f : fold_one) t[f.from] = (t[f.from] & 0xff000000u) | f.to;
    for (std::uint32_t i = 0; i < std::size(fold_many); ++i) t[fold_many[i].from] = many << kind_shift | i;
    return t;
  }();
  return entries;
}

std::uint8_t* put(std::uint8_t* out, std::uint32_t cp) noexcept {
  if (cp < 0x80) {
    *out++ = static_cast<std::uint8_t>(cp);
  } else if (cp < 0x800) {
    *out++ = static_cast<std::uint8_t>(0xc0 | cp >> 6);
    *out++ = static_cast<std::uint8_t>(0x80 | (cp & 0x3f));
  } else if (cp < 0x10000) {
    *out++ = static_cast<std::uint8_t>(0xe0 | cp >> 12);
    *out++ = static_cast<std::uint8_t>(0x80 | (cp >> 6 & 0x3f));
    *out++ = static_cast<std::uint8_t>(0x80 | (cp & 0x3f));
  } else {
    *out++ = static_cast<std::uint8_t>(0xf0 | cp >> 18);
    *out++ = static_cast<std::uint8_t>(0x80 | (cp >> 12 & 0x3f));
    *out++ = static_cast<std::uint8_t>(0x80 | (cp >> 6 & 0x3f));
    *out++ = static_cast<std::uint8_t>(0x80 | (cp & 0x3f));
  }
  return out;
}

// Decode one code point of well-formed UTF-8 (Unicode, table 3-7); 0 bytes taken when it is not.
std::size_t decode(const std::uint8_t* p, std::size_t left, std::uint32_t& cp) noexcept {
  const auto tail = [&](std::size_t i) { return i < left && (p[i] & 0xc0) == 0x80; };
  const std::uint8_t c = p[0];
  if (c >= 0xc2 && c <= 0xdf && tail(1)) {
    cp = (c & 0x1fu) << 6 | (p[1] & 0x3fu);
    return 2;
  }
  if ((c & 0xf0) == 0xe0 && tail(1) && tail(2)) {
    cp = (c & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    return cp < 0x800 || (cp >= 0xd800 && cp <= 0xdfff) ? 0 : 3;
  }
  if (c >= 0xf0 && c <= 0xf4 && tail(1) && tail(2) && tail(3)) {
    cp = (c & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
    return cp < 0x10000 || cp > 0x10ffff ? 0 : 4;
  }
  return 0;
}

std::uint64_t load64(const std::uint8_t* p) noexcept {
  std::uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

bool is_ascii_break(std::uint8_t c) noexcept {
  return c < 0x80 && !(static_cast<std::uint8_t>((c | 0x20) - 'a') < 26 || static_cast<std::uint8_t>(c - '0') < 10);
}

}  // namespace

Role role_of(const std::uint8_t* p, std::size_t left, std::size_t* taken) noexcept {
  *taken = 1;
  if (*p < 0x80) return is_ascii_break(*p) ? Role::apart : Role::inside;
  std::uint32_t cp = 0;
  const std::size_t bytes = decode(p, left, cp);
  if (bytes == 0) return Role::apart;
  *taken = bytes;
  switch (static_cast<Kind>(table()[cp] >> kind_shift)) {
    case brk:
      return Role::apart;
    case drop:
      return Role::nothing;
    case ideograph:
      return Role::alone;
    default:
      return Role::inside;
  }
}

std::uint64_t word_hash(const std::uint8_t* word, std::size_t bytes) noexcept {
  constexpr std::uint64_t k0 = 0x9e3779b97f4a7c15ULL, k1 = 0xbf58476d1ce4e5b9ULL, k2 = 0x94d049bb133111ebULL;
  std::uint64_t h = bytes * k0;
  for (; bytes > 8; bytes -= 8, word += 8) {
    h = (h ^ load64(word)) * k1;
    h ^= h >> 32;
  }
  h = (h ^ (load64(word) & (~std::uint64_t{0} >> (64 - 8 * bytes)))) * k1;
  h = (h ^ h >> 32) * k2;
  return h ^ h >> 29;
}

void Words::keep_last(std::size_t keep) noexcept {
  if (keep >= count) return;
  const std::size_t first = count - keep;
  if (keep > 0) {
    const std::uint32_t from = bounds[2 * first], end = bounds[2 * count - 1];
    std::memmove(bytes.data(), bytes.data() + from, end - from);
    for (std::size_t w = 0; w < keep; ++w) {
      bounds[2 * w] = bounds[2 * (first + w)] - from;
      bounds[2 * w + 1] = bounds[2 * (first + w) + 1] - from;
      hash[w] = hash[first + w];
    }
  }
  count = keep;
}

void reserve(Words& words, std::size_t used, std::size_t more) noexcept {
  // A Hangul syllable of 3 bytes becomes three Jamo of 3; an ideograph of 3 takes a space on either side.
  const std::size_t bytes = used + 3 * more + 128;
  if (words.bytes.size() < bytes) words.bytes.resize(bytes + bytes / 2);
  // A word takes at least one byte and a separator, or three bytes; 64 bounds are written at a time.
  const std::size_t most = words.count + more / 2 + 1;
  if (words.hash.size() < most) {
    words.hash.resize(most + most / 2);
    words.bounds.resize(2 * words.hash.size() + 128);
  }
}

std::size_t window_end(const std::uint8_t* text, std::size_t begin, std::size_t bytes) noexcept {
  if (bytes - begin <= window) return bytes;
  for (std::size_t end = begin + window; end > begin + window / 2; --end)
    if (is_ascii_break(text[end - 1])) return end;
  const std::size_t last = bytes - begin > longest_window ? begin + longest_window : bytes;
  for (std::size_t end = begin + window; end < last; ++end)
    if (is_ascii_break(text[end])) return end + 1;
  std::size_t end = last;
  while (end < bytes && end > begin + window && (text[end] & 0xc0) == 0x80) --end;
  return end;
}

std::uint8_t* fold_slowly(const std::uint8_t* p, const std::uint8_t* stop, const std::uint8_t* end, std::uint8_t* out,
                          bool& digit, const std::uint8_t** next) noexcept {
  const std::uint32_t* entries = table().data();
  while (p < stop) {
    std::uint32_t cp = *p;
    std::size_t taken = 1;
    if (cp >= 0x80) {
      taken = decode(p, static_cast<std::size_t>(end - p), cp);
      if (taken == 0) {  // not UTF-8: separates words
        *out++ = ' ';
        digit = false;
        ++p;
        continue;
      }
    }
    p += taken;
    const std::uint32_t entry = entries[cp], to = entry & 0xffffffu;
    switch (static_cast<Kind>(entry >> kind_shift)) {
      case letter:
        out = put(out, to), digit = false;
        break;
      case brk:
        *out++ = ' ', digit = false;
        break;
      case drop:
        break;
      case digit_kind:
        if (!digit) *out++ = '0';
        digit = true;
        break;
      case ideograph:
        *out++ = ' ', out = put(out, to), *out++ = ' ', digit = false;
        break;
      case hangul: {  // Unicode 3.12
        const std::uint32_t s = cp - 0xac00, t = s % 28;
        out = put(out, 0x1100 + s / 588);
        out = put(out, 0x1161 + s % 588 / 28);
        if (t > 0) out = put(out, 0x11a7 + t);
        digit = false;
        break;
      }
      case many:
        for (const std::uint32_t x : fold_many[to].to)
          if (x != 0) out = put(out, x);
        digit = false;
        break;
    }
  }
  *next = p;
  return out;
}

void words_scalar(const std::uint8_t* text, std::size_t bytes, Words& words) noexcept {
  const std::size_t used = words.count > 0 ? words.bounds[2 * words.count - 1] + std::size_t{1} : 0;
  reserve(words, used, bytes);
  std::uint8_t* begin = words.bytes.data() + used;
  bool digit = false;
  const std::uint8_t* next = text;
  std::uint8_t* end = fold_slowly(text, text + bytes, text + bytes, begin, digit, &next);
  *end++ = ' ';
  bool inside = false;
  std::uint32_t* bound = words.bounds.data() + 2 * words.count;
  for (const std::uint8_t* p = begin; p < end; ++p) {
    if ((*p != ' ') == inside) continue;
    *bound++ = static_cast<std::uint32_t>(p - words.bytes.data());
    inside = !inside;
  }
  const std::size_t first = words.count;
  words.count = static_cast<std::size_t>(bound - words.bounds.data()) / 2;
  for (std::size_t w = first; w < words.count; ++w)
    words.hash[w] = word_hash(words.bytes.data() + words.start(w), words.length(w));
}

}  // namespace fasttrain::text
