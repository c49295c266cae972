// Bound by one multiply chain per 16 bytes, about 4-5 GB/s a core: far above what any stage that needs it can read.

#include "text/hash128.h"

#include <array>
#include <bit>
#include <cstring>

#include "core/parallel.h"

namespace fasttrain::text {
namespace {

std::uint64_t load64(const std::uint8_t* p) noexcept {
  std::uint64_t v;
  std::memcpy(&v, p, 8);
  return v;
}

std::uint64_t mix(std::uint64_t k) noexcept {
  k ^= k >> 33;
  k *= 0xff51afd7ed558ccdULL;
  k ^= k >> 33;
  k *= 0xc4ceb9fe1a85ec53ULL;
  return k ^ (k >> 33);
}

}  // namespace

void murmur3_128(const std::uint8_t* data, std::size_t bytes, std::uint32_t seed, std::uint64_t out[2]) noexcept {
  constexpr std::uint64_t c1 = 0x87c37b91114253d5ULL, c2 = 0x4cf5ad432745937fULL;
  std::uint64_t h1 = seed, h2 = seed;
  const std::size_t whole = bytes / 16 * 16;
  for (std::size_t i = 0; i < whole; i += 16) {
    std::uint64_t k1 = load64(data + i), k2 = load64(data + i + 8);
    h1 ^= std::rotl(k1 * c1, 31) * c2;
    h1 = (std::rotl(h1, 27) + h2) * 5 + 0x52dce729;
    h2 ^= std::rotl(k2 * c2, 33) * c1;
    h2 = (std::rotl(h2, 31) + h1) * 5 + 0x38495ab5;
  }
  if (const std::size_t rest = bytes - whole; rest > 0) {
    std::uint8_t tail[16] = {};
    std::memcpy(tail, data + whole, rest);
    if (rest > 8) h2 ^= std::rotl(load64(tail + 8) * c2, 33) * c1;
    h1 ^= std::rotl(load64(tail) * c1, 31) * c2;
  }
  h1 ^= bytes;
  h2 ^= bytes;
  h1 += h2;
  h2 += h1;
  h1 = mix(h1);
  h2 = mix(h2);
  h1 += h2;
  h2 += h1;
  out[0] = h1;
  out[1] = h2;
}

void hash128_scalar(const Hash128Args& p) noexcept {
  parallel_ranges(p.N, 256, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t n = begin; n < end; ++n)
      murmur3_128(p.data + p.offsets[n], static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n]), p.seed,
                  p.out + 2 * n);
  });
}

std::span<const Impl<Hash128Fn>> hash128_impls() {
  static constexpr std::array<Impl<Hash128Fn>, 1> impls{{{"scalar", Isa::any, hash128_scalar}}};
  return impls;
}

}  // namespace fasttrain::text
