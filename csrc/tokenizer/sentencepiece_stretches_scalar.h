#pragma once /* part of sentencepiece_bpe */
// Stretches of a text, for any instruction set.

#include "tokenizer/sentencepiece_stretches.h"

namespace fasttrain::tokenizer::scalar {

#define FT_SCAN inline
FT_SCAN Marks marks_at(const std::uint8_t* p) noexcept { return marks_of(p, 64, p + 66); }
#include "tokenizer/sentencepiece_stretches.inc"
#undef FT_SCAN

}  // namespace fasttrain::tokenizer::scalar
