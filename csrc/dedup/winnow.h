#pragma once
// Anchors of texts: substrings chosen by their content, one at least in every window.            N texts, S bytes.
//
//   h(i) = mix64(sum over j < k of data[i + j] * base^(k - 1 - j))    (mod 2^64; base, mix64: text/shingle.h)
//   i is chosen when h(i) is the smallest, the leftmost among equals, of w neighbouring h inside its text
//
// So any w + k - 1 bytes of a text hold an anchor, at a place that depends on those bytes alone: two equal strings of
// that length have it at the same place. A text of fewer bytes has none.
// Source: Schleimer, Wilkerson, Aiken 2003.
// Reference: fasttrain/dedup/winnow_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::dedup {

struct WinnowArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)
  std::uint64_t* hash;          // (capacity,)  out
  std::int64_t* text;           // (capacity,)  out; number of the anchor's text
  std::int64_t* begin;          // (capacity,)  out; first byte of the anchor in its text
  std::size_t capacity;
  std::size_t N, k, w;
  std::size_t found = 0;  // out; the first min(found, capacity) are filled
};

using WinnowFn = void (*)(WinnowArgs&) noexcept;

void winnow_scalar(WinnowArgs&) noexcept;

std::span<const Impl<WinnowFn>> winnow_impls();  // best first

}  // namespace fasttrain::dedup
