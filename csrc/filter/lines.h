#pragma once /* part of line_edit */
// C4's and RefinedWeb's rules for one line, on the masks of its text.

#include <array>
#include <string_view>

#include "filter/line_edit.h"
#include "filter/masks.h"

namespace fasttrain::filter {

enum LineReason : int {
  line_kept,
  line_long_word,
  line_unpunctuated,
  line_few_words,
  line_lorem_ipsum,
  line_javascript,
  line_curly_bracket,
  line_policy,
  num_line_reasons
};

enum RefinedWebReason : int { rw_kept, rw_uppercase, rw_numeric, rw_counter, rw_one_word, rw_phrase };

enum PhraseKind : int { phrase_none, phrase_lorem, phrase_javascript, phrase_policy, phrase_cart, num_phrase_kinds };

struct Phrase {
  std::uint32_t start, length;
  int kind;
};

struct Cut {
  std::size_t begin, end;  // bytes of the text
};

struct LineScratch {
  std::vector<Phrase> phrases;       // of the text, line by line
  std::vector<Cut> cuts;             // of the line, by position; may overlap
  std::vector<std::uint8_t> edited;  // the line without its citations
  bool has_open_square = false, has_curly = false;
};

struct LineFate {
  int reason;
  std::size_t sentences;
  const std::uint8_t* text;  // of a kept line
  std::size_t bytes;
};

FT_INLINE std::uint8_t lower_ascii(std::uint8_t c) noexcept { return c >= 'A' && c <= 'Z' ? c | 32 : c; }

FT_INLINE bool matches(const std::uint8_t* text, std::size_t n, std::size_t at, std::string_view phrase) noexcept {
  if (at > n || n - at < phrase.size()) return false;
  for (std::size_t i = 0; i < phrase.size(); ++i)
    if (lower_ascii(text[at + i]) != static_cast<std::uint8_t>(phrase[i])) return false;
  return true;
}

struct PhraseRule {
  char mark;  // the letter at `offset` that finds the phrase
  std::size_t offset;
  std::string_view words;
  int kind;
};

inline constexpr std::array<PhraseRule, 9> phrase_rules{{{'j', 0, "javascript", phrase_javascript},
                                                         {'p', 7, "lorem ipsum", phrase_lorem},
                                                         {'m', 3, "terms of use", phrase_policy},
                                                         {'m', 3, "items in cart", phrase_cart},
                                                         {'v', 3, "privacy policy", phrase_policy},
                                                         {'k', 3, "cookie policy", phrase_policy},
                                                         {'k', 8, "uses cookies", phrase_policy},
                                                         {'k', 10, "use of cookies", phrase_policy},
                                                         {'k', 7, "use cookies", phrase_policy}}};

FT_INLINE void find_phrases_at(const std::uint8_t* text, std::size_t n, std::size_t p, std::vector<Phrase>& out) {
  const std::uint8_t c = lower_ascii(text[p]);
  for (const PhraseRule& rule : phrase_rules)
    if (c == static_cast<std::uint8_t>(rule.mark) && p >= rule.offset && matches(text, n, p - rule.offset, rule.words))
      out.push_back(
          {static_cast<std::uint32_t>(p - rule.offset), static_cast<std::uint32_t>(rule.words.size()), rule.kind});
}

// What every line of the text needs; once per text.
FT_INLINE void prepare_lines(const Masks& m, LineScratch& s) {
  s.phrases.clear();
  const std::uint64_t* candidates = m.mask(mk_phrase);
  for (std::size_t w = 0; w < m.words - 2; ++w)
    for (std::uint64_t bits = candidates[w]; bits != 0; bits &= bits - 1)
      find_phrases_at(m.text.data(), m.n, (w << 6) + static_cast<std::size_t>(std::countr_zero(bits)), s.phrases);
  s.has_open_square = std::memchr(m.text.data(), '[', m.n) != nullptr;
  s.has_curly = std::memchr(m.text.data(), '{', m.n) != nullptr;
}

// Length of a citation that begins at `at`, 0 when there is none: [12], [], [edit], [citation needed].
FT_INLINE std::size_t citation(const std::uint8_t* text, std::size_t at, std::size_t end) noexcept {
  if (text[at] != '[') return 0;
  std::size_t i = at + 1;
  while (i < end && text[i] >= '0' && text[i] <= '9') ++i;
  if (i < end && text[i] == ']') return i + 1 - at;
  for (const std::string_view name : {std::string_view("[edit]"), std::string_view("[citation needed]")})
    if (end - at >= name.size() && std::memcmp(text + at, name.data(), name.size()) == 0) return name.size();
  return 0;
}

// Sentences of a line (see line_edit_ref.sentences): from its bytes, character by character.
inline std::size_t sentences(const std::uint8_t* p, std::size_t n) noexcept {
  std::size_t count = n > 0, run = 0, length = 1;
  bool begun = false, pending = false, ready = false, letter_before = false;
  for (std::size_t i = 0; i < n; i += length) {
    length = 1;
    std::uint32_t cp = p[i];
    if (cp >= 128) {
      const Decoded c = decode(p + i, n - i);
      cp = c.cp;
      length = c.length > 0 ? c.length : 1;
    }
    const std::uint32_t kind = text::unicode_class_of(cp);
    const bool is_word = kind & (text::uc_letter | text::uc_number | text::uc_mark);
    if (kind & text::uc_terminal) {
      const bool doubled = cp == '.' && ((i > 0 && p[i - 1] == '.') || (i + 1 < n && p[i + 1] == '.'));
      if (!doubled && !(cp == '.' && run == 1 && letter_before)) {
        pending = true;
        ready = ready || cp > 127;
      }
    } else if (kind & text::uc_space) {
      ready = ready || pending;
    } else if (is_word) {
      count += begun && ready;
      begun = true;
      pending = ready = false;
    }
    run = is_word ? run + 1 : 0;
    letter_before = kind & text::uc_letter;
  }
  return count;
}

// The same from the masks of [a, b): only terminal marks are looked at.
FT_INLINE std::size_t sentences_masked(const Masks& m, std::size_t a, std::size_t b) noexcept {
  const std::uint64_t *terminal = m.mask(mk_terminal), *inner = m.mask(mk_inner), *space = m.mask(mk_space);
  const std::uint8_t* text = m.text.data();
  const auto is_word = [&](std::size_t i) __attribute__((always_inline)) {
    return word_bits(m, i >> 6) >> (i & 63) & 1;
  };
  const auto next_word = [&](std::size_t from) __attribute__((always_inline)) {
    std::size_t w = from >> 6;
    if (from >= b) return b;
    std::uint64_t bits = word_bits(m, w) & ~low_bits(from & 63);
    while (bits == 0) {
      if (++w << 6 >= b) return b;
      bits = word_bits(m, w);
    }
    const std::size_t i = (w << 6) + static_cast<std::size_t>(std::countr_zero(bits));
    return i < b ? i : b;
  };
  std::size_t count = b > a, next = next_word(a);
  if (next == b) return count;
  const std::size_t first = next;
  std::size_t counted = first;  // the word start that was counted last
  for (std::size_t p = find<true>(terminal, first, b); p < b; p = find<true>(terminal, p + 1, b)) {
    if (test(inner, p)) continue;
    if (text[p] == '.') {
      if ((p > a && text[p - 1] == '.') || (p + 1 < b && text[p + 1] == '.')) continue;
      if (test(m.mask(mk_letter), p - 1)) {  // p > first >= a
        std::size_t lead = p - 1;
        while (test(inner, lead)) --lead;
        if (lead == a || !is_word(lead - 1)) continue;  // a word of one letter
      }
    }
    const std::size_t q = next_word(p + 1);
    if (q == b) break;
    if (q == counted) continue;
    if (text[p] >= 128 || find<true>(space, p, q) < q) {
      ++count;
      counted = q;
    }
  }
  return count;
}

// The phrases of a line: [first, last) of LineScratch::phrases.
struct PhraseRange {
  std::size_t first, last;
};

// The phrases that begin in [a, b); `before` is those of the line before.
FT_INLINE PhraseRange phrases_of(const LineScratch& s, PhraseRange before, std::size_t a, std::size_t b) noexcept {
  std::size_t first = before.last;
  while (first < s.phrases.size() && s.phrases[first].start < a) ++first;
  std::size_t last = first;
  while (last < s.phrases.size() && s.phrases[last].start < b) ++last;
  return {first, last};
}

// Words between spaces in [a, b), counted no further than `enough`.
FT_INLINE std::size_t spaced_words(const std::uint64_t* space, std::size_t a, std::size_t b, std::size_t enough) noexcept {
  std::size_t count = 0;
  for (std::size_t i = a; i < b && count < enough; ++count) i = find<false>(space, find<true>(space, i, b), b);
  return count;
}

// C4 on the line [a, b) (outer spaces removed).
FT_INLINE LineFate judge_c4(const Masks& m, LineScratch& s, const LineRules& rules, std::size_t a, std::size_t b,
                            PhraseRange phrases) {
  const std::uint8_t* text = m.text.data();
  const std::uint64_t* space = m.mask(mk_space);
  if (b - a > rules.c4_max_word_chars) {
    for (std::size_t i = a; i < b;) {
      const std::size_t end = find<true>(space, i, b);
      if (end - i - count_range(m.mask(mk_inner), i, end) > rules.c4_max_word_chars)
        return {line_long_word, 0, nullptr, 0};
      i = find<false>(space, end, b);
    }
  }
  const std::uint8_t* line = text + a;
  std::size_t bytes = b - a;
  bool edited = false;
  if ((rules.c4_flags & c4_citations) && s.has_open_square && std::memchr(line, '[', bytes) != nullptr) {
    s.edited.clear();
    for (std::size_t i = a; i < b;) {
      const std::size_t skip = citation(text, i, b);
      edited = edited || skip > 0;
      if (skip == 0) s.edited.push_back(text[i]);
      i += skip > 0 ? skip : 1;
    }
    if (edited) {
      line = s.edited.data();
      bytes = s.edited.size();
    }
  }
  if (rules.c4_flags & c4_terminal_punct) {
    const std::uint8_t end = bytes > 0 ? line[bytes - 1] : 0;
    const bool stops = end == '.' || end == '?' || end == '!' || end == '"' || end == '\'';
    if (!stops || (end == '.' && bytes >= 3 && line[bytes - 2] == '.' && line[bytes - 3] == '.'))
      return {line_unpunctuated, 0, nullptr, 0};
  }
  if (spaced_words(space, a, b, rules.c4_min_words) < rules.c4_min_words) return {line_few_words, 0, nullptr, 0};
  bool has[num_phrase_kinds] = {};
  if (!edited) {
    for (std::size_t i = phrases.first; i < phrases.last; ++i) has[s.phrases[i].kind] = true;
  } else {
    std::vector<Phrase> found;
    for (std::size_t i = 0; i < bytes; ++i) find_phrases_at(line, bytes, i, found);
    for (const Phrase& f : found) has[f.kind] = true;
  }
  if ((rules.c4_flags & c4_lorem_ipsum) && has[phrase_lorem]) return {line_lorem_ipsum, 0, nullptr, 0};
  if ((rules.c4_flags & c4_javascript) && has[phrase_javascript]) return {line_javascript, 0, nullptr, 0};
  if ((rules.c4_flags & c4_curly_bracket) && s.has_curly && bytes > 0 && std::memchr(line, '{', bytes) != nullptr)
    return {line_curly_bracket, 0, nullptr, 0};
  if ((rules.c4_flags & c4_policy) && has[phrase_policy]) return {line_policy, 0, nullptr, 0};
  return {line_kept, edited ? sentences(line, bytes) : sentences_masked(m, a, b), line, bytes};
}

// First word character in [a, b); b when there is none.
FT_INLINE std::size_t first_word_character(const Masks& m, std::size_t a, std::size_t b) noexcept {
  for (std::size_t w = a >> 6; a < b; a = ++w << 6)
    if (const std::uint64_t bits = word_bits(m, w) & ~low_bits(a & 63); bits != 0) {
      const std::size_t i = (w << 6) + static_cast<std::size_t>(std::countr_zero(bits));
      return i < b ? i : b;
    }
  return b;
}

inline constexpr std::array<std::string_view, 12> counted_nouns{"like",     "share",  "comment",  "retweet",
                                                                "repost",   "quote",  "bookmark", "upvote",
                                                                "downvote", "download", "view",   "follower"};

// A number and what it counts, beside nothing but symbols (line_edit_ref.is_counter).
FT_INLINE bool is_counter(const Masks& m, std::size_t a, std::size_t b) noexcept {
  const std::uint8_t* text = m.text.data();
  const auto digit = [&](std::size_t i) __attribute__((always_inline)) { return text[i] >= '0' && text[i] <= '9'; };
  std::size_t i = first_word_character(m, a, b);
  if (i == b || !digit(i)) return false;
  while (i < b && (digit(i) || text[i] == ',' || text[i] == '.')) ++i;
  if (i < b && (lower_ascii(text[i]) == 'k' || lower_ascii(text[i]) == 'm' || lower_ascii(text[i]) == 'b')) ++i;
  const std::size_t space = i;
  i = find<false>(m.mask(mk_space), i, b);
  if (i == space) return false;
  for (const std::string_view noun : counted_nouns) {
    if (!matches(text, b, i, noun)) continue;
    i += noun.size();
    if (i < b && lower_ascii(text[i]) == 's') ++i;
    return first_word_character(m, i, b) == b;
  }
  return false;
}

// Set bits in [a, b) that are first bytes of characters.
FT_INLINE std::size_t count_characters(const Masks& m, const std::uint64_t* mask, std::size_t a, std::size_t b) noexcept {
  if (!m.has_unicode) return count_range(mask, a, b);
  const std::uint64_t* inner = m.mask(mk_inner);
  std::size_t sum = 0;
  for (std::size_t w = a >> 6, last = (b - 1) >> 6; w <= last; ++w) {
    std::uint64_t bits = mask[w] & ~inner[w];
    if (w == a >> 6) bits &= ~low_bits(a & 63);
    if (w == last) bits &= low_bits(((b - 1) & 63) + 1);
    sum += static_cast<std::size_t>(std::popcount(bits));
  }
  return sum;
}

// Is there something visible in [a, b) outside the cuts?
FT_INLINE bool visible_left(const std::uint64_t* space, const std::vector<Cut>& cuts, std::size_t a, std::size_t b) noexcept {
  for (const Cut& cut : cuts) {
    if (cut.begin > a && find<false>(space, a, cut.begin) < cut.begin) return true;
    a = cut.end > a ? cut.end : a;
  }
  return find<false>(space, a, b) < b;
}

// RefinedWeb on the line [a, b) (outer spaces removed): the reason to refuse it; what goes of a kept line is in s.cuts.
FT_INLINE int judge_refinedweb(const Masks& m, LineScratch& s, const LineRules& rules, std::size_t a, std::size_t b,
                               PhraseRange phrases) {
  s.cuts.clear();
  if (a == b) return rw_kept;
  const std::uint8_t* text = m.text.data();
  const std::uint64_t *space = m.mask(mk_space), *inner = m.mask(mk_inner);
  const std::size_t chars = b - a - (m.has_unicode ? count_range(inner, a, b) : 0);
  const std::size_t upper = count_characters(m, m.mask(mk_upper), a, b);
  if (static_cast<double>(upper) / static_cast<double>(chars) > rules.rw_max_uppercase) return rw_uppercase;
  if ((rules.rw_flags & rw_numeric_lines) && find<false>(m.mask(mk_number), a, b) == b) return rw_numeric;
  if ((rules.rw_flags & rw_counters) && is_counter(m, a, b)) return rw_counter;
  if (spaced_words(space, a, b, rules.rw_min_words) < rules.rw_min_words) return rw_one_word;
  if (!(rules.rw_flags & rw_phrases)) return rw_kept;
  const auto step_back = [&](std::size_t i) __attribute__((always_inline)) {  // over one space before i
    if (i == a || !test(space, i - 1)) return i;
    do --i;
    while (test(inner, i));
    return i;
  };
  if (matches(text, b, a, "sign-in")) {
    std::size_t end = a + 7;
    if (end < b && test(space, end)) {
      do ++end;
      while (test(inner, end));
    }
    s.cuts.push_back({a, end});
  }
  for (std::size_t i = phrases.first; i < phrases.last; ++i)
    if (s.phrases[i].kind == phrase_cart) {
      const std::size_t start = s.phrases[i].start;
      s.cuts.push_back({step_back(start), start + s.phrases[i].length});
    }
  if (b - a >= 12 && (matches(text, b, b - 12, "read more...") || matches(text, b, b - 12, "read more\xe2\x80\xa6")))
    s.cuts.push_back({step_back(b - 12), b});
  if (s.cuts.empty()) return rw_kept;
  if (spaced_words(space, a, b, rules.rw_max_phrase_words + 1) > rules.rw_max_phrase_words) {
    s.cuts.clear();
    return rw_kept;
  }
  return visible_left(space, s.cuts, a, b) ? rw_kept : rw_phrase;
}

// body(a, b, next) for each line of str.splitlines: its bytes, outer spaces and all, and where the next line begins.
template <typename Body>
FT_INLINE void each_line(const Masks& m, const Body& body) {
  const std::uint64_t *breaks = m.mask(mk_break), *inner = m.mask(mk_inner);
  for (std::size_t a = 0, next = 0; a < m.n; a = next) {
    const std::size_t b = find<true>(breaks, a, m.n);
    next = b;
    if (b < m.n) {
      ++next;
      while (next < m.n && test(inner, next)) ++next;
      if (m.text[b] == '\r' && next < m.n && m.text[next] == '\n') ++next;
    }
    body(a, b, next);
  }
}

}  // namespace fasttrain::filter
