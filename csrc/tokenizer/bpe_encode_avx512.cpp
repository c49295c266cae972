#include "tokenizer/bpe_encode.h"

#if defined(__x86_64__)
#include <algorithm>
#include <bit>
#include <cstring>

#include "tokenizer/merge_lockstep_avx512.h"
#include "tokenizer/scan_avx512.h"

namespace fasttrain::tokenizer {
namespace avx512 {
#define FT_SCAN FT_AVX512 inline
FT_SCAN std::size_t encode_piece(BpeModel& model, const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                                 BpeModel::Worker& w) {
  if (bytes > lane_bytes) return model.encode_piece(piece, bytes, out, w);
  if (const std::uint32_t id = model.whole(piece, bytes); id != no_rank) {
    out[0] = id;
    return 1;
  }
  if (bytes <= 16) return merge_lanes<1>(model, piece, bytes, out);
  return bytes <= 32 ? merge_lanes<2>(model, piece, bytes, out) : merge_lanes<4>(model, piece, bytes, out);
}
FT_SCAN void encode_short(BpeModel& model, ShortPiece* pieces, int num, BpeModel::Worker&) {
  merge_lockstep(model, pieces, num);
  if (!model.has_whole()) return;
  for (ShortPiece* s = pieces; s < pieces + num; ++s)
    if (const std::uint32_t id = model.whole(s->piece, s->bytes); id != no_rank) {
      s->ids[0] = id;
      s->count = 1;
    }
}
#include "tokenizer/encode_text.inc"
#undef FT_SCAN
}  // namespace avx512

void bpe_encode_avx512(const BpeEncodeArgs& a) noexcept { encode_texts(a, avx512::encode_text); }

}  // namespace fasttrain::tokenizer
#endif
