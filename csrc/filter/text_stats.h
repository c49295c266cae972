#pragma once
// What every quality rule needs to know of a text, counted in one pass.            N texts, K = num_stats counts.
//
// Integers only: ratios are formed from them where they are compared, so that no instruction set rounds differently.
// What each column counts: filter/DEFINITIONS.md. Source: Rae et al. 2021 (Gopher, MassiveText), Raffel et al. 2020
// (C4), Penedo et al. 2024 (FineWeb), all as coded in datatrove 0.10.1, and the line rules of line_edit.h. In the same
// pass texts are edited by the line rules; `left_*` columns count what they left. Reference:
// fasttrain/filter/text_stats_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"
#include "filter/line_edit.h" /* the rules that kept lines obey */

namespace fasttrain::filter {

enum Stat : int {
  st_bytes,
  st_chars,
  st_letters,
  st_numbers,
  st_spaces,
  st_newlines,
  st_words,
  st_text_words,
  st_text_word_chars,
  st_alpha_words,
  st_stop_words,
  st_hashes,
  st_ellipses,
  st_lines,
  st_bullet_lines,
  st_ellipsis_lines,
  st_paragraphs,
  st_dup_paragraphs,
  st_dup_paragraph_chars,
  st_repetition_lines,
  st_dup_lines,
  st_dup_line_chars,
  st_top_2_gram_chars,
  st_dup_5_gram_chars = st_top_2_gram_chars + 3,
  st_c4_kept_lines = st_dup_5_gram_chars + 6,
  st_c4_sentences,
  st_c4_long_word_lines,                             // and one more for each LineReason, in its order
  st_rw_uppercase_lines = st_c4_long_word_lines + 7,  // and one more for each RefinedWebReason
  st_rw_removed_words = st_rw_uppercase_lines + 5,
  st_removed_lines,
  st_left_chars,
  st_left_newlines,
  st_left_words,
  st_left_full_lines,
  st_left_punct_lines,
  st_left_short_lines,
  st_left_full_dup_chars,
  num_stats
};

struct TextStatsArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::int64_t* out;            // (N, K)  out
  std::int64_t* bad;            // (2,)    out: the first text that is not UTF-8 and its first bad byte, or -1, -1
  const std::uint8_t* edit;      // (N,)    bits of EditFlag; nullptr: no text is edited
  std::uint8_t* edited;          // (offsets[N] - offsets[0],)  out; the edited texts one after another
  std::int64_t* edited_offsets;  // (N+1,)  out
  std::size_t N;
  LineRules rules;
  std::size_t short_line_chars;
  int threads;
};

using TextStatsFn = void (*)(const TextStatsArgs&);

void text_stats_scalar(const TextStatsArgs&);
void text_stats_avx2(const TextStatsArgs&);

std::span<const Impl<TextStatsFn>> text_stats_impls();  // best first

}  // namespace fasttrain::filter
