#include "tokenizer/bpe_encode.h"

#if defined(__x86_64__)
#include <algorithm>
#include <bit>
#include <cstring>

#include "tokenizer/scan_avx512.h"

namespace fasttrain::tokenizer {
namespace avx512 {
#define FT_SCAN FT_AVX512 inline
#include "tokenizer/encode_text.inc"
#undef FT_SCAN
}  // namespace avx512

void bpe_encode_avx512(const BpeEncodeArgs& a) noexcept { encode_texts(a, avx512::encode_text); }

}  // namespace fasttrain::tokenizer
#endif
