#include "tokenizer/unigram.h"

#if defined(__x86_64__)
#include <bit>
#include <cmath>
#include <cstring>

#include "tokenizer/sentencepiece_stretches_avx2.h"
#include "tokenizer/sentencepiece_worker.h"
#include "tokenizer/unigram_search.h"

namespace fasttrain::tokenizer {
namespace avx2 {
#define FT_SCAN FT_AVX2 inline
#include "tokenizer/unigram.inc"
#undef FT_SCAN
}  // namespace avx2

void unigram_avx2(const SentencePieceArgs& a) noexcept { encode_sentences(a, avx2::encode_unigram); }

}  // namespace fasttrain::tokenizer
#endif
