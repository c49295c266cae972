#pragma once /* part of linear_cross_entropy */
// Products by vdpbf16ps, which adds a0 b0 + a1 b1 of two bf16 to each fp32 sum: operands are pairs along the summed
// index. Included by linear_cross_entropy_avx512bf16.cpp.
//
//   C (M x columns) (+)= A (M x 2K) B (2K x columns): a pair of A is broadcast; B lies in panels of NR columns, (K, NR)
//   pairs each, zeros where there are no more rows or columns.

using Pair = std::uint32_t;  // two bf16, the earlier one in the low half

constexpr int MR = 6, NV = 4;  // 24 sums, 4 vectors of B, one broadcast: 29 of 32 registers
constexpr std::size_t NR = NV * W;
static_assert(NR == loss_group);

// The sixteen pairs (a[i], b[i]).
FT_INLINE __m512i interleave(__m256i a, __m256i b) noexcept {
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21,
                                         5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1));
}
FT_INLINE __m256i halves(const Bf16* p, std::size_t n) noexcept {
  return n >= W ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)) : _mm256_maskz_loadu_epi16(first(n), p);
}
FT_INLINE __m256i halves(const float* p, std::size_t n) noexcept { return narrow(n >= W ? load(p) : load_part(p, n)); }

// The even places of 64 halves: the first of each pair, or of fp32 sums the lower halves. Odd places: the others.
FT_INLINE __m512i even_places() noexcept {
  return _mm512_set_epi16(62, 60, 58, 56, 54, 52, 50, 48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20, 18,
                          16, 14, 12, 10, 8, 6, 4, 2, 0);
}
FT_INLINE __m512i odd_places() noexcept { return _mm512_add_epi16(even_places(), _mm512_set1_epi16(1)); }

// Two vectors of sums; of halves at once, which takes a third of the instructions.
FT_INLINE void get_two(const Whole& sums, std::size_t at, V& a, V& b) noexcept {
  a = sums.get(at), b = sums.get(at + W);
}
FT_INLINE void get_two(const Halves& sums, std::size_t at, V& a, V& b) noexcept {
  const __m512i first = _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6, 37,
                                         5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
  const __m512i second = _mm512_add_epi16(first, _mm512_set1_epi16(16));
  const __m512i lower = _mm512_loadu_si512(sums.lower + at), upper = _mm512_loadu_si512(sums.upper + at);
  a = _mm512_castsi512_ps(_mm512_permutex2var_epi16(lower, first, upper));
  b = _mm512_castsi512_ps(_mm512_permutex2var_epi16(lower, second, upper));
}
FT_INLINE void put_two(const Whole& sums, std::size_t at, V a, V b) noexcept {
  sums.put(at, a), sums.put(at + W, b);
}
FT_INLINE void put_two(const Halves& sums, std::size_t at, V a, V b) noexcept {
  const __m512i x = _mm512_castps_si512(a), y = _mm512_castps_si512(b);
  _mm512_storeu_si512(sums.lower + at, _mm512_permutex2var_epi16(x, even_places(), y));
  _mm512_storeu_si512(sums.upper + at, _mm512_permutex2var_epi16(x, odd_places(), y));
}

// sums += the products of K pairs; pair (i, k) of A at a[i] + k a_k.
FT_INLINE void add_products(V (&sums)[MR][NV], const Bf16* const (&a)[MR], std::size_t a_k, const Pair* B,
                            std::size_t K) noexcept {
  for (std::size_t k = 0; k < K; ++k) {
    __m512bh b[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) b[j] = (__m512bh)_mm512_loadu_si512(B + k * NR + static_cast<std::size_t>(j) * W);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      std::int32_t pair;
      std::memcpy(&pair, a[i] + k * a_k, sizeof(pair));
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) sums[i][j] = _mm512_dpbf16_ps(sums[i][j], (__m512bh)_mm512_set1_epi32(pair), b[j]);
    }
  }
}

struct Tile {
  const Bf16* A;  // pair (i, k) at A + i a_row + k a_k
  std::size_t a_row, a_k;
  const Pair* B;
  std::size_t c_row, K;
  bool keep;
};

// C (rows x columns) (+)= A B; meanwhile the sums of the next tile come into the cache.
template <bool full, typename Sums>
FT_KERNEL void micro(const Tile& t, Sums C, Sums next, int rows, std::size_t columns) noexcept {
  V c[MR][NV];
  const Bf16* a[MR];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    a[i] = t.A + static_cast<std::size_t>(full || i < rows ? i : 0) * t.a_row;
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const std::size_t at = static_cast<std::size_t>(i) * t.c_row + static_cast<std::size_t>(j) * W;
      if (!full || !t.keep) c[i][j] = zero();
      if (full) {
        if (j % Sums::vectors_of_a_line == 0) next.prefetch(at);
        if (t.keep && j % 2 == 0) get_two(C, at, c[i][j], c[i][j + 1]);
      } else if (t.keep && i < rows) {
        float some[W] = {};
        for (std::size_t w = 0; w < W && static_cast<std::size_t>(j) * W + w < columns; ++w)
          some[w] = C.get_one(at + w);
        c[i][j] = load(some);
      }
    }
  }
  add_products(c, a, t.a_k, t.B, t.K);
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const std::size_t at = static_cast<std::size_t>(i) * t.c_row + static_cast<std::size_t>(j) * W;
      if (full) {
        if (j % 2 == 0) put_two(C, at, c[i][j], c[i][j + 1]);
      } else if (i < rows) {
        float some[W];
        store(some, c[i][j]);
        for (std::size_t w = 0; w < W && static_cast<std::size_t>(j) * W + w < columns; ++w)
          C.put_one(at + w, some[w]);
      }
    }
}

template <typename Sums>
FT_KERNEL void multiply(const Tile& t, Sums C, Sums next, std::size_t rows, std::size_t columns) noexcept {
  if (rows >= MR && columns >= NR)
    micro<true>(t, C, next, MR, NR);
  else
    micro<false>(t, C, next, static_cast<int>(rows < MR ? rows : MR), columns < NR ? columns : NR);
}
