#include "tokenizer/bpe_encode.h"

#include <array>
#include <bit>
#include <cstring>

#include "core/parallel.h"
#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {
namespace scalar {
#define FT_SCAN inline
#include "tokenizer/encode_text.inc"
#undef FT_SCAN
}  // namespace scalar

// Each text is encoded into its own worst-case place (an id a byte), then the places are closed up: no thread waits for
// another, and pages of the buffer that no id reaches are never touched.
void encode_texts(const BpeEncodeArgs& a, EncodeText one) noexcept {
  const std::size_t grain = 8;
  const auto place = [&a](std::size_t n) { return a.ids + (a.offsets[n] - a.offsets[0]) + n; };
  parallel_ranges(a.N, grain, a.threads, [&](std::size_t begin, std::size_t stop) {
    auto worker = a.model->take_worker();
    for (std::size_t n = begin; n < stop; ++n) {
      std::uint32_t* out = place(n);
      std::size_t count = one(a, *worker, a.data + a.offsets[n], a.data + a.offsets[n + 1], out);
      if (a.eot >= 0) out[count++] = static_cast<std::uint32_t>(a.eot);
      a.ends[n + 1] = static_cast<std::int64_t>(count);
    }
    a.model->give_back(std::move(worker));
  });
  a.ends[0] = 0;
  for (std::size_t n = 0; n < a.N; ++n) {
    const auto count = static_cast<std::size_t>(a.ends[n + 1]);
    std::memmove(a.ids + a.ends[n], place(n), count * sizeof(std::uint32_t));
    a.ends[n + 1] += a.ends[n];
  }
}

void bpe_encode_scalar(const BpeEncodeArgs& a) noexcept { encode_texts(a, scalar::encode_text); }

std::span<const Impl<BpeEncodeFn>> bpe_encode_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<BpeEncodeFn>, 2> impls{
      {{"avx2", Isa::avx2, bpe_encode_avx2}, {"scalar", Isa::any, bpe_encode_scalar}}};
#else
  static constexpr std::array<Impl<BpeEncodeFn>, 1> impls{{{"scalar", Isa::any, bpe_encode_scalar}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
