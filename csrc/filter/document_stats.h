#pragma once /* part of text_stats */
// All statistics of one text, for every instruction set.

#include "filter/line_writer.h"
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

// Text words that begin in [a, b).
FT_INLINE std::int64_t text_words_in(const Masks& m, std::size_t a, std::size_t b) noexcept {
  std::int64_t count = 0;
  std::size_t t = static_cast<std::size_t>(std::lower_bound(m.starts.begin(), m.starts.end(), a) - m.starts.begin());
  for (; t < m.starts.size() && m.starts[t] < b; ++t)
    count += any_bit(m.mask(mk_prose), m.starts[t], m.ends[t] - m.starts[t]);
  return count;
}

FT_INLINE void count_lines(const Masks& m, LineScratch& s, const TextStatsArgs& p, LineWriter* writer,
                           std::int64_t* out) {
  const std::uint8_t* text = m.text.data();
  prepare_lines(m, s);
  PhraseRange phrases{0, 0};
  each_line(
      m, [&](std::size_t begin, std::size_t end_of_line, std::size_t next) __attribute__((always_inline)) {
        const std::size_t a = find<false>(m.mask(mk_space), begin, end_of_line);
        const std::size_t b = last_clear(m.mask(mk_space), a, end_of_line);
        const bool bullet = text[a] == '-' || (text[a] == 0xe2 && text[a + 1] == 0x80 && text[a + 2] == 0xa2);
        const std::uint8_t* end = text + b;
        const bool dots = b - a >= 3 && ((end[-1] == '.' && end[-2] == '.' && end[-3] == '.') ||
                                         (end[-1] == 0xa6 && end[-2] == 0x80 && end[-3] == 0xe2));
        ++out[st_lines];
        out[st_bullet_lines] += b > a && bullet;
        out[st_ellipsis_lines] += dots;
        phrases = phrases_of(s, phrases, a, b);
        const LineFate c4 = judge_c4(m, s, p.rules, a, b, phrases);
        if (c4.reason == line_kept) {
          ++out[st_c4_kept_lines];
          out[st_c4_sentences] += static_cast<std::int64_t>(c4.sentences);
        } else {
          ++out[st_c4_long_word_lines + c4.reason - line_long_word];
        }
        const int refinedweb = judge_refinedweb(m, s, p.rules, a, b, phrases);
        const int spoke = refinedweb == rw_kept && !s.cuts.empty() ? rw_phrase : refinedweb;
        if (spoke != rw_kept) ++out[st_rw_uppercase_lines + spoke - rw_uppercase];
        if (refinedweb != rw_kept) {
          out[st_rw_removed_words] += text_words_in(m, a, b);
        } else {
          std::size_t from = a;
          for (const Cut& cut : s.cuts) {
            if (cut.begin > from) from = cut.begin;
            if (cut.end > from) out[st_rw_removed_words] += text_words_in(m, from, cut.end);
            from = cut.end > from ? cut.end : from;
          }
        }
        if (writer != nullptr) writer->line(m, s, p.rules, begin, a, b, next, c4, refinedweb);
      });
}

// Lines as the repetition rules (runs of "\n" separate) and FineWeb's (lines with something visible) see them.
// out: the column of repetition_lines, or nullptr; left: that of left_full_lines.
FT_INLINE void count_repeated_lines(const Masks& m, Repeats& r, std::size_t short_line_chars, std::size_t newlines,
                                    std::int64_t* out, std::int64_t* left) {
  const std::uint8_t* text = m.text.data();
  const std::uint64_t *newline = m.mask(mk_newline), *space = m.mask(mk_space), *inner = m.mask(mk_inner),
                      *terminal = m.mask(mk_terminal);
  r.spans.clear();
  r.table.open(newlines + 1);
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
  if (out != nullptr) {
    out[0] = num;
    out[1] = dup;
    out[2] = dup_chars;
  }
  left[0] = full;
  left[1] = punct;
  left[2] = shorts;
  left[3] = full_dup;
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

// The columns that FineWeb's rules read, of a text that was edited.
FT_INLINE void count_left(Masks& m, Repeats& r, std::size_t short_line_chars, std::int64_t* out) {
  std::size_t inner = 0, newlines = 0;
  for (std::size_t w = 0; w < m.words - 2; ++w) {
    inner += static_cast<std::size_t>(std::popcount(m.mask(mk_inner)[w]));
    newlines += static_cast<std::size_t>(std::popcount(m.mask(mk_newline)[w]));
  }
  find_words(m);
  out[st_left_chars] = static_cast<std::int64_t>(m.n - inner);
  out[st_left_newlines] = static_cast<std::int64_t>(newlines);
  out[st_left_words] = static_cast<std::int64_t>(m.starts.size());
  count_repeated_lines(m, r, short_line_chars, newlines, nullptr, out + st_left_full_lines);
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
  out[st_chars] = out[st_left_chars] = static_cast<std::int64_t>(bytes - inner);
  out[st_letters] = static_cast<std::int64_t>(letters);
  out[st_numbers] = static_cast<std::int64_t>(numbers);
  out[st_spaces] = static_cast<std::int64_t>(spaces);
  out[st_newlines] = out[st_left_newlines] = static_cast<std::int64_t>(newlines);
  find_words(m);
  count_words(m, s.repeats, out);
  out[st_left_words] = out[st_words];
  number_words(m, s.repeats);
  gram_chars(s.repeats, out + st_top_2_gram_chars, out + st_dup_5_gram_chars);
  count_repeated_lines(m, s.repeats, p.short_line_chars, newlines, out + st_repetition_lines, out + st_left_full_lines);
  count_paragraphs(m, s.repeats, out);
  if (p.edit == nullptr) {
    count_lines(m, s.lines, p, nullptr, out);
    return -1;
  }
  LineWriter writer(p.edited + (p.offsets[n] - p.offsets[0]), p.edit[n]);
  count_lines(m, s.lines, p, &writer, out);
  const bool same = writer.length() == m.n && (m.n == 0 || std::memcmp(m.text.data(), writer.text(), m.n) == 0);
  if (writer.changed() && (!same || writer.may_need_strip())) {  // the masks of the text are not needed any more
    writer.strip<classify_ascii>(m);
    count_left(m, s.repeats, p.short_line_chars, out);
  }
  out[st_removed_lines] = static_cast<std::int64_t>(writer.removed());
  p.edited_offsets[n + 1] = static_cast<std::int64_t>(writer.length());
  return -1;
}

// Puts edited texts one after another, or names the first text that is not UTF-8.
inline void finish(const TextStatsArgs& p) noexcept {
  p.bad[0] = p.bad[1] = -1;
  for (std::size_t n = 0; n < p.N; ++n) {
    if (p.out[n * num_stats] >= 0) continue;
    p.bad[0] = static_cast<std::int64_t>(n);
    p.bad[1] = -1 - p.out[n * num_stats];
    return;
  }
  if (p.edit != nullptr) compact(p.offsets, p.edited, p.edited_offsets, p.bad, p.N);
}

}  // namespace fasttrain::filter
