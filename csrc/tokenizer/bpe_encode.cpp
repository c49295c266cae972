#include "tokenizer/bpe_encode.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "core/parallel.h"
#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {
namespace scalar {
#define FT_SCAN inline
FT_SCAN std::size_t encode_piece(BpeModel& model, const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                                 BpeModel::Worker& w) {
  return model.encode_piece(piece, bytes, out, w);
}
#include "tokenizer/encode_text.inc"
#undef FT_SCAN
}  // namespace scalar

namespace {

// One text: what lies between added tokens is encoded as a text of its own.
std::size_t encode_between(const BpeEncodeArgs& a, EncodeText one, BpeModel::Worker& w, const std::uint8_t* p,
                           const std::uint8_t* end, std::uint32_t* out) {
  if (!a.finds_added || a.model->added().empty()) return one(a, w, p, end, out);
  std::size_t count = 0;
  while (p < end) {
    const AddedTokens::Match match = a.model->added().find(p, end);
    count += one(a, w, p, match.begin, out + count);
    if (match.bytes != 0) out[count++] = match.id;
    p = match.begin + match.bytes;
  }
  return count;
}

}  // namespace

// Texts go in blocks of about equal bytes; a block's ids lie close together from its worst-case place (an id a byte)
// on, and the blocks are closed up at the end. So no thread waits for another, pages that no id reaches are never
// touched, and on one thread nothing is moved.
void encode_texts(const BpeEncodeArgs& a, EncodeText one) noexcept {
  const std::size_t blocks = a.threads > 1 ? std::min<std::size_t>(a.N, 8 * static_cast<std::size_t>(a.threads)) : 1;
  const std::int64_t first = a.offsets[0], bytes = a.offsets[a.N] - first;
  const auto begin_of = [&](std::size_t b) {  // text at which block b begins
    if (b == 0) return std::size_t{0};
    const std::int64_t target = first + bytes / static_cast<std::int64_t>(blocks) * static_cast<std::int64_t>(b);
    return b >= blocks ? a.N
                       : static_cast<std::size_t>(std::lower_bound(a.offsets, a.offsets + a.N, target) - a.offsets);
  };
  const auto place = [&](std::size_t n) { return a.ids + (a.offsets[n] - first) + n; };
  parallel_for(blocks, a.threads, [&](std::size_t b) {
    const std::size_t begin = begin_of(b), stop = begin_of(b + 1);
    if (begin == stop) return;
    auto worker = a.model->take_worker();
    std::uint32_t* out = place(begin);
    for (std::size_t n = begin; n < stop; ++n) {
      std::size_t count = encode_between(a, one, *worker, a.data + a.offsets[n], a.data + a.offsets[n + 1], out);
      if (a.eot >= 0) out[count++] = static_cast<std::uint32_t>(a.eot);
      out += count;
      a.ends[n + 1] = static_cast<std::int64_t>(count);
    }
    a.model->give_back(std::move(worker));
  });
  a.ends[0] = 0;
  for (std::size_t b = 0; b < blocks; ++b) {
    const std::size_t begin = begin_of(b), stop = begin_of(b + 1);
    for (std::size_t n = begin; n < stop; ++n) a.ends[n + 1] += a.ends[n];
    if (b > 0 && begin < stop)
      std::memmove(a.ids + a.ends[begin], place(begin),
                   static_cast<std::size_t>(a.ends[stop] - a.ends[begin]) * sizeof(std::uint32_t));
  }
}

void bpe_encode_scalar(const BpeEncodeArgs& a) noexcept { encode_texts(a, scalar::encode_text); }

std::span<const Impl<BpeEncodeFn>> bpe_encode_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<BpeEncodeFn>, 3> impls{
      {{"avx512", Isa::avx512, bpe_encode_avx512},
       {"avx2", Isa::avx2, bpe_encode_avx2},
       {"scalar", Isa::any, bpe_encode_scalar}}};
#else
  static constexpr std::array<Impl<BpeEncodeFn>, 1> impls{{{"scalar", Isa::any, bpe_encode_scalar}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
