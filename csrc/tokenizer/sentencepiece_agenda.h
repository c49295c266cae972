#pragma once /* part of sentencepiece_bpe */
// The merge of any SentencePiece BPE model, of a stretch of any length: symbols in a list, pairs that may merge in a heap.

#include <cstddef>
#include <cstdint>

#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

// Ids of [at, end) at `out`; returns their number.
std::size_t merge_by_agenda(const SentencePieceModel& m, SentencePieceModel::Worker& w, const std::uint8_t* at,
                            const std::uint8_t* end, std::uint32_t* out);

}  // namespace fasttrain::tokenizer
