#include "tokenizer/bpe_encode.h"

#if defined(__x86_64__)
#include <algorithm>
#include <bit>
#include <cstring>

#include "tokenizer/scan_avx2.h"

namespace fasttrain::tokenizer {
namespace avx2 {
#define FT_SCAN FT_AVX2 inline
FT_SCAN std::size_t encode_piece(BpeModel& model, const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                                 BpeModel::Worker& w) {
  return model.encode_piece(piece, bytes, out, w);
}
FT_SCAN void encode_short(BpeModel& model, ShortPiece* pieces, int num, BpeModel::Worker& w) {
  for (ShortPiece* s = pieces; s < pieces + num; ++s)
    s->count = static_cast<std::uint32_t>(model.encode_piece(s->piece, s->bytes, s->ids, w));
}
#include "tokenizer/encode_text.inc"
#undef FT_SCAN
}  // namespace avx2

void bpe_encode_avx2(const BpeEncodeArgs& a) noexcept { encode_texts(a, avx2::encode_text); }

}  // namespace fasttrain::tokenizer
#endif
