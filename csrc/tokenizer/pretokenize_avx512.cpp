#include "tokenizer/pretokenize.h"

#if defined(__x86_64__)
#include "tokenizer/scan_avx512.h"

namespace fasttrain::tokenizer {
namespace avx512 {
#define FT_SCAN FT_AVX512 inline
#include "tokenizer/pretokenize_text.inc"
#undef FT_SCAN
}  // namespace avx512

void pretokenize_avx512(const PretokenizeArgs& a) noexcept { pretokenize_texts(a, avx512::cut_text); }

}  // namespace fasttrain::tokenizer
#endif
