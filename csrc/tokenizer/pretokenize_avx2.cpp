#include "tokenizer/pretokenize.h"

#if defined(__x86_64__)
#include "tokenizer/scan_avx2.h"

namespace fasttrain::tokenizer {
namespace avx2 {
#define FT_SCAN FT_AVX2 inline
#include "tokenizer/pretokenize_text.inc"
#undef FT_SCAN
}  // namespace avx2

void pretokenize_avx2(const PretokenizeArgs& a) noexcept { pretokenize_texts(a, avx2::cut_text); }

}  // namespace fasttrain::tokenizer
#endif
