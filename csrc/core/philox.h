#pragma once
// Philox4x32-10: random bits as a pure function of a counter and a key, so that neither threads, ranks nor instruction
// sets change what is drawn.
//
//   a block: 16 counters (c0 + l, c1, c2, c3), l = 0..15  ->  out[16 w + l] = word w of counter l,  64 words
//
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". Definition: fasttrain/core/philox.py.

#include <cstddef>
#include <cstdint>

#include "core/impl.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace fasttrain {

constexpr std::size_t philox_words = 64;  // of a block

struct PhiloxBlock {
  std::uint32_t c0, c1, c2, c3;
  std::uint64_t key;
};

namespace philox {
constexpr int rounds = 10;
constexpr std::uint32_t m0 = 0xD2511F53u, m1 = 0xCD9E8D57u;  // multipliers
constexpr std::uint32_t w0 = 0x9E3779B9u, w1 = 0xBB67AE85u;  // added to the key's halves after each round
}  // namespace philox

inline void philox_block_scalar(const PhiloxBlock& p, std::uint32_t out[philox_words]) noexcept {
  for (std::uint32_t lane = 0; lane < 16; ++lane) {
    std::uint32_t c[4] = {p.c0 + lane, p.c1, p.c2, p.c3};
    auto k0 = static_cast<std::uint32_t>(p.key), k1 = static_cast<std::uint32_t>(p.key >> 32);
    for (int round = 0; round < philox::rounds; ++round) {
      const std::uint64_t a = std::uint64_t{philox::m0} * c[0], b = std::uint64_t{philox::m1} * c[2];
      c[0] = static_cast<std::uint32_t>(b >> 32) ^ c[1] ^ k0;
      c[2] = static_cast<std::uint32_t>(a >> 32) ^ c[3] ^ k1;
      c[1] = static_cast<std::uint32_t>(b);
      c[3] = static_cast<std::uint32_t>(a);
      k0 += philox::w0;
      k1 += philox::w1;
    }
    for (int word = 0; word < 4; ++word) out[16 * word + lane] = c[word];
  }
}

#if defined(__x86_64__)
// Products of 32 bits come two to a 128-bit lane: the even ones, then the odd ones, put together again by a blend.
FT_AVX2 inline __attribute__((always_inline)) void philox_product_avx2(__m256i x, __m256i m, __m256i& high,
                                                                      __m256i& low) noexcept {
  const __m256i even = _mm256_mul_epu32(x, m), odd = _mm256_mul_epu32(_mm256_srli_epi64(x, 32), m);
  high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
  low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

FT_AVX2 inline __attribute__((always_inline)) void philox_block_avx2(const PhiloxBlock& p,
                                                                    std::uint32_t out[philox_words]) noexcept {
  const __m256i m0 = _mm256_set1_epi64x(philox::m0), m1 = _mm256_set1_epi64x(philox::m1);
  __m256i c[2][4];  // two halves at once hide the products' latency
  for (int h = 0; h < 2; ++h) {
    const __m256i lanes = _mm256_add_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_epi32(8 * h));
    c[h][0] = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(p.c0)), lanes);
    c[h][1] = _mm256_set1_epi32(static_cast<int>(p.c1));
    c[h][2] = _mm256_set1_epi32(static_cast<int>(p.c2));
    c[h][3] = _mm256_set1_epi32(static_cast<int>(p.c3));
  }
  auto k0 = static_cast<std::uint32_t>(p.key), k1 = static_cast<std::uint32_t>(p.key >> 32);
  for (int round = 0; round < philox::rounds; ++round) {
    const __m256i key0 = _mm256_set1_epi32(static_cast<int>(k0)), key1 = _mm256_set1_epi32(static_cast<int>(k1));
    for (int h = 0; h < 2; ++h) {
      __m256i high_a, low_a, high_b, low_b;
      philox_product_avx2(c[h][0], m0, high_a, low_a);
      philox_product_avx2(c[h][2], m1, high_b, low_b);
      c[h][0] = _mm256_xor_si256(_mm256_xor_si256(high_b, c[h][1]), key0);
      c[h][2] = _mm256_xor_si256(_mm256_xor_si256(high_a, c[h][3]), key1);
      c[h][1] = low_b;
      c[h][3] = low_a;
    }
    k0 += philox::w0;
    k1 += philox::w1;
  }
  for (int h = 0; h < 2; ++h)
    for (int word = 0; word < 4; ++word)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 16 * word + 8 * h), c[h][word]);
}

FT_AVX512 inline __attribute__((always_inline)) void philox_product_avx512(__m512i x, __m512i m, __m512i& high,
                                                                          __m512i& low) noexcept {
  const __m512i even = _mm512_mul_epu32(x, m), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), m);
  high = _mm512_mask_mov_epi32(_mm512_srli_epi64(even, 32), 0xaaaa, odd);
  low = _mm512_mask_mov_epi32(even, 0xaaaa, _mm512_slli_epi64(odd, 32));
}

FT_AVX512 inline __attribute__((always_inline)) void philox_block_avx512(const PhiloxBlock& p,
                                                                        std::uint32_t out[philox_words]) noexcept {
  const __m512i m0 = _mm512_set1_epi64(philox::m0), m1 = _mm512_set1_epi64(philox::m1);
  const __m512i lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
  __m512i c0 = _mm512_add_epi32(_mm512_set1_epi32(static_cast<int>(p.c0)), lanes);
  __m512i c1 = _mm512_set1_epi32(static_cast<int>(p.c1)), c2 = _mm512_set1_epi32(static_cast<int>(p.c2));
  __m512i c3 = _mm512_set1_epi32(static_cast<int>(p.c3));
  auto k0 = static_cast<std::uint32_t>(p.key), k1 = static_cast<std::uint32_t>(p.key >> 32);
  for (int round = 0; round < philox::rounds; ++round) {
    __m512i high_a, low_a, high_b, low_b;
    philox_product_avx512(c0, m0, high_a, low_a);
    philox_product_avx512(c2, m1, high_b, low_b);
    c0 = _mm512_xor_si512(_mm512_xor_si512(high_b, c1), _mm512_set1_epi32(static_cast<int>(k0)));
    c2 = _mm512_xor_si512(_mm512_xor_si512(high_a, c3), _mm512_set1_epi32(static_cast<int>(k1)));
    c1 = low_b;
    c3 = low_a;
    k0 += philox::w0;
    k1 += philox::w1;
  }
  _mm512_storeu_si512(out, c0);
  _mm512_storeu_si512(out + 16, c1);
  _mm512_storeu_si512(out + 32, c2);
  _mm512_storeu_si512(out + 48, c3);
}
#endif

}  // namespace fasttrain
