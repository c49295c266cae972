#pragma once
// Normalised texts to the ids of a SentencePiece BPE model.            N texts, S bytes, T ids, V pieces.
//
//   while two neighbouring symbols together are a piece, the pair of the highest score, the leftmost of equals, becomes
//   one symbol; symbols are characters and user-defined symbols at first, and the latter never merge
//
// Texts are cut where no piece reaches over, between words and at most signs: merges never cross such a place, and what
// lies between two is remembered. Source: sentencepiece's bpe_model.cc (Kudo and Richardson 2018).
// Reference: fasttrain/tokenizer/sentencepiece_bpe_ref.py. No CUDA file, for the reason in bpe_encode.h.

#include <span>

#include "core/impl.h"
#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

using SentencePieceFn = void (*)(const SentencePieceArgs&) noexcept;

void sentencepiece_bpe_scalar(const SentencePieceArgs&) noexcept;
#if defined(__x86_64__)
void sentencepiece_bpe_avx2(const SentencePieceArgs&) noexcept;
void sentencepiece_bpe_avx512(const SentencePieceArgs&) noexcept;
#endif

std::span<const Impl<SentencePieceFn>> sentencepiece_bpe_impls();  // best first

}  // namespace fasttrain::tokenizer
