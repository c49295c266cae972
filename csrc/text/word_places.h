#pragma once
// Where the words of texts lie.                                                         N texts, W words in all.
//
//   words are those of text/shingle.h: letters and digits between separators; an ideograph is a word
//   places[w] = first byte of word w, first byte after its first code point, first byte of its last one
//
// So any bytes from the first place of a word to the second, or more, hold a word; and a string that begins in a word
// holds what is left of it as a word exactly when it begins at or before the third place. Marks are of no word.
// Reference: fasttrain/text/word_places_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::text {

struct WordPlacesArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)
  std::int64_t* places;         // (capacity, 3)  out; the first word_offsets[N] rows are filled
  std::int64_t* word_offsets;   // (N+1,)  out; text n has words [word_offsets[n], word_offsets[n + 1])
  std::size_t N;
};  // capacity: a text of b bytes has at most (b + 1) / 2 words

using WordPlacesFn = void (*)(const WordPlacesArgs&) noexcept;

void word_places_scalar(const WordPlacesArgs&) noexcept;

std::span<const Impl<WordPlacesFn>> word_places_impls();  // best first

}  // namespace fasttrain::text
