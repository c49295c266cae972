#pragma once /* part of text_stats */
// All statistics of one text, for every instruction set.

#include "filter/lines.h"
#include "filter/repeats.h"
#include "filter/text_stats.h"

namespace fasttrain::filter {

struct StatsScratch {
  Masks masks;
  LineScratch lines;
  Repeats repeats;
};

FT_INLINE int stop_word(std::uint64_t word, std::size_t length) noexcept {
  constexpr auto pack = [](const char* s) {
    std::uint64_t v = 0;
    for (int i = 0; s[i] != 0; ++i) v |= static_cast<std::uint64_t>(s[i]) << (8 * i);
    return v;
  };
  if (length < 2 || length > 4) return 0;
  word &= low_bits(8 * length);
  if (length == 2) return word == pack("be") ? 1 : word == pack("to") ? 2 : word == pack("of") ? 4 : 0;
  if (length == 3) return word == pack("the") ? 8 : word == pack("and") ? 16 : 0;
  return word == pack("that") ? 32 : word == pack("have") ? 64 : word == pack("with") ? 128 : 0;
}

// Any bit in [a, a + length): one load for words of usual length.
FT_INLINE bool any_bit(const std::uint64_t* m, std::size_t a, std::size_t length) noexcept {
  if (length > 56) return count_range(m, a, a + length) > 0;
  std::uint64_t v;
  std::memcpy(&v, reinterpret_cast<const std::uint8_t*>(m) + (a >> 3), 8);
  return (v >> (a & 7) & low_bits(length)) != 0;
}

FT_INLINE void count_words(const Masks& m, Repeats& r, std::int64_t* out) {
  const std::uint8_t* text = m.text.data();
  const std::uint64_t *letter = m.mask(mk_letter), *prose = m.mask(mk_prose), *inner = m.mask(mk_inner);
  const std::size_t T = m.starts.size();
  r.prefix.resize(T + 1);
  std::int64_t text_words = 0, text_word_chars = 0, alpha = 0, hashes = 0, ellipses = 0;
  int stop = 0;
  std::uint32_t before = 0;
  for (std::size_t t = 0; t < T; ++t) {
    const std::size_t a = m.starts[t], length = m.ends[t] - a;
    const std::size_t chars = m.has_unicode ? length - count_range(inner, a, a + length) : length;
    const std::uint64_t head = load64(text + a);
    r.prefix[t] = before;
    before += static_cast<std::uint32_t>(chars);
    alpha += any_bit(letter, a, length);
    const bool is_text = any_bit(prose, a, length);
    text_words += is_text;
    text_word_chars += is_text ? static_cast<std::int64_t>(chars) : 0;
    stop |= stop_word(head, length);
    const std::uint8_t c = text[a];
    if (c == '#') hashes += static_cast<std::int64_t>(length);
    if (c == '.') ellipses += static_cast<std::int64_t>(length / 3);  // a token that starts with "." is dots alone
    if ((head & 0xffffff) == 0xa680e2) ellipses += static_cast<std::int64_t>(length / 3);  // a run of "…"
  }
  r.prefix[T] = before;
  out[st_words] = static_cast<std::int64_t>(T);
  out[st_text_words] = text_words;
  out[st_text_word_chars] = text_word_chars;
  out[st_alpha_words] = alpha;
  out[st_stop_words] = std::popcount(static_cast<unsigned>(stop));
  out[st_hashes] = hashes;
  out[st_ellipses] = ellipses;
}

FT_INLINE void count_lines(const Masks& m, LineScratch& s, const TextStatsArgs& p, std::int64_t* out) {
  const std::uint8_t* text = m.text.data();
  std::size_t phrase = 0;
  prepare_lines(m, s);
  each_line(
      m, [&](std::size_t a, std::size_t b) __attribute__((always_inline)) {
        a = find<false>(m.mask(mk_space), a, b);
        b = last_clear(m.mask(mk_space), a, b);
        const bool bullet = text[a] == '-' || (text[a] == 0xe2 && text[a + 1] == 0x80 && text[a + 2] == 0xa2);
        const std::uint8_t* end = text + b;
        const bool dots = b - a >= 3 && ((end[-1] == '.' && end[-2] == '.' && end[-3] == '.') ||
                                         (end[-1] == 0xa6 && end[-2] == 0x80 && end[-3] == 0xe2));
        ++out[st_lines];
        out[st_bullet_lines] += b > a && bullet;
        out[st_ellipsis_lines] += dots;
        const LineFate fate = judge(m, s, p.c4, a, b, phrase);
        if (fate.reason == line_kept) {
          ++out[st_c4_kept_lines];
          out[st_c4_sentences] += static_cast<std::int64_t>(fate.sentences);
        } else {
          ++out[st_c4_long_word_lines + fate.reason - line_long_word];
        }
      });
}

// Lines as the repetition rules (runs of "\n" separate) and FineWeb's (lines with something visible) see them.
FT_INLINE void count_repeated_lines(const Masks& m, Repeats& r, std::size_t short_line_chars, std::int64_t* out) {
  const std::uint8_t* text = m.text.data();
  const std::uint64_t *newline = m.mask(mk_newline), *space = m.mask(mk_space), *inner = m.mask(mk_inner),
                      *terminal = m.mask(mk_terminal);
  r.spans.clear();
  r.table.open(static_cast<std::size_t>(out[st_newlines]) + 1);
  std::int64_t num = 0, dup = 0, dup_chars = 0, full = 0, punct = 0, shorts = 0, full_dup = 0;
  for (std::size_t a = 0; a < m.n;) {
    const std::size_t b = find<true>(newline, a, m.n);
    if (b > a) {
      const std::int64_t chars = static_cast<std::int64_t>(b - a - (m.has_unicode ? count_range(inner, a, b) : 0));
      const bool is_full = find<false>(space, a, b) < b, again = seen_before(r, text, a, b - a);
      ++num;
      dup += again;
      dup_chars += again ? chars : 0;
      full += is_full;
      full_dup += again && is_full ? chars : 0;
      punct += is_full && test(terminal, b - 1);
      shorts += is_full && static_cast<std::size_t>(chars) <= short_line_chars;
    }
    a = b + 1;
  }
  if (m.n > 0) {  // re.split leaves an empty string before a leading and behind a trailing run
    const int empty = (text[0] == '\n') + (text[m.n - 1] == '\n');
    num += empty;
    dup += empty == 2;
  }
  out[st_repetition_lines] = num;
  out[st_dup_lines] = dup;
  out[st_dup_line_chars] = dup_chars;
  out[st_full_lines] = full;
  out[st_punct_lines] = punct;
  out[st_short_lines] = shorts;
  out[st_full_dup_chars] = full_dup;
}

FT_INLINE void count_paragraphs(const Masks& m, Repeats& r, std::int64_t* out) {
  if (m.n == 0) return;
  const std::uint64_t *newline = m.mask(mk_newline), *space = m.mask(mk_space), *inner = m.mask(mk_inner);
  const std::uint8_t* text = m.text.data();
  const std::size_t begin = find<false>(space, 0, m.n), end = last_clear(space, begin, m.n);
  r.spans.clear();
  r.table.open(static_cast<std::size_t>(out[st_newlines]) / 2 + 1);
  for (std::size_t a = begin;;) {
    std::size_t b = a;
    while (b < end) {
      b = find<true>(newline, b, end);
      if (b < end && text[b + 1] == '\n') break;  // b + 1 < end: the stripped text ends with no space
      b += b < end;
    }
    ++out[st_paragraphs];
    if (seen_before(r, text, a, b - a)) {
      ++out[st_dup_paragraphs];
      out[st_dup_paragraph_chars] += static_cast<std::int64_t>(b - a - (m.has_unicode ? count_range(inner, a, b) : 0));
    }
    if (b >= end) return;
    a = find<false>(newline, b, end);
  }
}

// Position of the first bad byte, or -1.
template <auto classify_ascii>
FT_INLINE std::int64_t document_stats(const TextStatsArgs& p, std::size_t n, StatsScratch& s) {
  std::int64_t* out = p.out + n * num_stats;
  for (int k = 0; k < num_stats; ++k) out[k] = 0;
  const std::size_t bytes = static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n]);
  Masks& m = s.masks;
  if (const std::int64_t bad = build<classify_ascii>(m, p.data + p.offsets[n], bytes); bad >= 0) return bad;
  std::size_t letters = 0, numbers = 0, spaces = 0, inner = 0, newlines = 0;
  for (std::size_t w = 0; w < m.words - 2; ++w) {
    const std::uint64_t leads = ~m.mask(mk_inner)[w];
    letters += static_cast<std::size_t>(std::popcount(m.mask(mk_letter)[w] & leads));
    numbers += static_cast<std::size_t>(std::popcount(m.mask(mk_number)[w] & leads));
    spaces += static_cast<std::size_t>(std::popcount(m.mask(mk_space)[w] & leads));
    inner += static_cast<std::size_t>(std::popcount(~leads));
    newlines += static_cast<std::size_t>(std::popcount(m.mask(mk_newline)[w]));
  }
  out[st_bytes] = static_cast<std::int64_t>(bytes);
  out[st_chars] = static_cast<std::int64_t>(bytes - inner);
  out[st_letters] = static_cast<std::int64_t>(letters);
  out[st_numbers] = static_cast<std::int64_t>(numbers);
  out[st_spaces] = static_cast<std::int64_t>(spaces);
  out[st_newlines] = static_cast<std::int64_t>(newlines);
  find_words(m);
  count_words(m, s.repeats, out);
  number_words(m, s.repeats);
  gram_chars(s.repeats, out + st_top_2_gram_chars, out + st_dup_5_gram_chars);
  count_lines(m, s.lines, p, out);
  count_repeated_lines(m, s.repeats, p.short_line_chars, out);
  count_paragraphs(m, s.repeats, out);
  return -1;
}

}  // namespace fasttrain::filter
