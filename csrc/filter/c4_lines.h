#pragma once
// C4's line rules as an edit.            N texts.
//
//   out[n] = the lines of text n that no rule refuses, without outer spaces and citations, joined by "\n", stripped
//
// Source: Raffel et al. 2020 (C4); datatrove 0.10.1, c4_filters.py. Differences: filter/DEFINITIONS.md.
// Reference: fasttrain/filter/c4_lines_ref.py. The caller allocates and has checked every shape.

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

struct C4LinesRules {
  std::uint32_t flags;  // of C4Flag
  std::size_t min_words;
  std::size_t max_word_chars;
};

struct C4LinesArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::uint8_t* out;            // (offsets[N] - offsets[0],)  out; the texts one after another
  std::int64_t* out_offsets;    // (N+1,)  out
  std::int64_t* bad;            // (2,)    out: the first text that is not UTF-8 and its first bad byte, or -1, -1
  std::size_t N;
  C4LinesRules rules;
  int threads;
};

using C4LinesFn = void (*)(const C4LinesArgs&);

void c4_lines_scalar(const C4LinesArgs&);
void c4_lines_avx2(const C4LinesArgs&);

std::span<const Impl<C4LinesFn>> c4_lines_impls();  // best first

}  // namespace fasttrain::filter
