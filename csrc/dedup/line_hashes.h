#pragma once
// Hashes of the normalised words of spans of a text (lines, paragraphs).            M spans.
//
//   hash[m] = mix64(sum over words j of h[j] * base^(W - 1 - j)),  W = words[m];  0 for a span without words
//   with `digits`, sum ^ mix64(sum over ASCII digits c of c * base^(their number after it)) takes the place of sum
//   words, h, base, mix64: text/shingle.h (case folded, marks off, a run of digits is "0", punctuation separates)
//
// Equal words in equal order have equal hashes, whatever their case and punctuation, and their digits without `digits`.
// Reference: fasttrain/dedup/line_hashes_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::dedup {

struct LineHashesArgs {
  const std::uint8_t* data;    // (S,)
  const std::int64_t* begins;  // (M,)
  const std::int64_t* ends;    // (M,)
  std::uint64_t* hash;         // (M,)  out
  std::int64_t* words;         // (M,)  out
  std::size_t M;
  bool digits;  // lines that differ in ASCII digits differ
  int threads;
};

using LineHashesFn = void (*)(const LineHashesArgs&) noexcept;

void line_hashes_scalar(const LineHashesArgs&) noexcept;
void line_hashes_avx2(const LineHashesArgs&) noexcept;

std::span<const Impl<LineHashesFn>> line_hashes_impls();  // best first

}  // namespace fasttrain::dedup
