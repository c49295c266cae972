#pragma once
// The line rules of C4 and RefinedWeb as one edit.            N texts.
//
//   out[n] = text n without the lines and the pieces of lines that the families of edit[n] refuse
//
// Source: Raffel et al. 2020 (C4) as in datatrove 0.10.1, c4_filters.py; Penedo et al. 2023 (RefinedWeb, G.2) as in DCLM's
// baseline. Differences: filter/DEFINITIONS.md. Reference: fasttrain/filter/line_edit_ref.py. The caller allocates and has
// checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::filter {

enum C4Flag : std::uint32_t {
  c4_terminal_punct = 1,
  c4_lorem_ipsum = 2,
  c4_javascript = 4,
  c4_curly_bracket = 8,
  c4_policy = 16,
  c4_citations = 32,
};

enum RefinedWebFlag : std::uint32_t { rw_numeric_lines = 1, rw_counters = 2, rw_phrases = 4 };

enum EditFlag : std::uint8_t { edit_c4 = 1, edit_refinedweb = 2 };

struct LineRules {
  std::uint32_t c4_flags;  // of C4Flag
  std::size_t c4_min_words;
  std::size_t c4_max_word_chars;
  std::uint32_t rw_flags;  // of RefinedWebFlag
  double rw_max_uppercase;
  std::size_t rw_min_words;
  std::size_t rw_max_phrase_words;
};

struct LineEditArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  const std::uint8_t* edit;     // (N,)    bits of EditFlag
  std::uint8_t* out;            // (offsets[N] - offsets[0],)  out; the texts one after another
  std::int64_t* out_offsets;    // (N+1,)  out
  std::int64_t* bad;            // (2,)    out: the first text that is not UTF-8 and its first bad byte, or -1, -1
  std::size_t N;
  LineRules rules;
  int threads;
};

using LineEditFn = void (*)(const LineEditArgs&);

void line_edit_scalar(const LineEditArgs&);
void line_edit_avx2(const LineEditArgs&);

std::span<const Impl<LineEditFn>> line_edit_impls();  // best first

}  // namespace fasttrain::filter
