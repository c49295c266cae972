#pragma once
// Normalised texts to the ids of a SentencePiece Unigram model: the best path through the pieces, by Viterbi.
//                                                                      N texts, S bytes, T ids, V pieces.
//
//   best(end) = max over pieces text[start, end) of float32(score + best(start)); the first of equals, from the left
//
// Sums go on in float32 from the text's begin, as sentencepiece has them: which of two paths that differ by less than
// that rounding is taken depends on everything before. So a stretch that no piece reaches out of is remembered with
// the least margin on its best path: where that is more than rounding can move, its pieces are what they were. Only
// a bound of the sum is needed then; their scores are added to it, in their order, when it is less. Below -100,000 sums
// count on from zero, as sentencepiece 0.2.3 does (its version 0.2.1 does not, and sums in float64: ids differ in a
// document of thousands). Source: unigram_model.cc's EncodeOptimized (Kudo 2018).
// Reference: fasttrain/tokenizer/unigram_ref.py.

#include <span>

#include "core/impl.h"
#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

using UnigramFn = void (*)(const SentencePieceArgs&) noexcept;

void unigram_scalar(const SentencePieceArgs&) noexcept;
#if defined(__x86_64__)
void unigram_avx2(const SentencePieceArgs&) noexcept;
void unigram_avx512(const SentencePieceArgs&) noexcept;
#endif

std::span<const Impl<UnigramFn>> unigram_impls();  // best first

}  // namespace fasttrain::tokenizer
