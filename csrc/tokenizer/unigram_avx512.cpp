#include "tokenizer/unigram.h"

#if defined(__x86_64__)
#include <bit>
#include <cmath>
#include <cstring>

#include "tokenizer/sentencepiece_stretches_avx512.h"
#include "tokenizer/sentencepiece_worker.h"
#include "tokenizer/unigram_search.h"

namespace fasttrain::tokenizer {
namespace avx512 {
#define FT_SCAN FT_AVX512 inline
#include "tokenizer/unigram.inc"
#undef FT_SCAN
}  // namespace avx512

void unigram_avx512(const SentencePieceArgs& a) noexcept { encode_sentences(a, avx512::encode_unigram); }

}  // namespace fasttrain::tokenizer
#endif
