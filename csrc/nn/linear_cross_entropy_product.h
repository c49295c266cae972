#pragma once /* part of linear_cross_entropy */
// The two products of the backward pass by vdpbf16ps, which adds a0 b0 + a1 b1 of two bf16 to each fp32 sum: operands
// are pairs along the summed index. Included by linear_cross_entropy_avx512bf16.cpp.
//
//   C (M x channels) (+)= A (M x 2K) B (2K x channels): a pair of A is broadcast; B is packed in panels of NR channels,
//   (K, NR) pairs each, zeros where there are no more rows or channels.
//
// The sums are read and written once a block of KB pairs and asked for a tile before: memory is busy while the CPU
// multiplies, which torch's product into an array of its own and an addition cannot do. 192 tokens take 20 ms of one
// core for 32,000 words of 768 channels, sums in memory included, beside 22 and 5 ms.

using Pair = std::uint32_t;  // two bf16, the earlier one in the low half

constexpr int MR = 6, NV = 4;  // 24 sums, 4 vectors of B, one broadcast: 29 of 32 registers
constexpr std::size_t NR = NV * W, KB = product_pairs;
constexpr std::size_t MB = 96;  // words packed at a time: 48 KB, and 288 KB of sums that the panels come back to
static_assert(NR == product_panel && MB % MR == 0 && MB % W == 0);

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
      c[i][j] = zero();
      if (full) {
        if (j % Sums::vectors_of_a_line == 0) next.prefetch(at);
        if (t.keep) c[i][j] = C.get(at);
      } else if (t.keep && i < rows) {
        float some[W] = {};
        for (std::size_t w = 0; w < W && static_cast<std::size_t>(j) * W + w < columns; ++w)
          some[w] = C.get_one(at + w);
        c[i][j] = load(some);
      }
    }
  }
  for (std::size_t k = 0; k < t.K; ++k) {
    __m512bh b[NV];
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) b[j] = (__m512bh)_mm512_loadu_si512(t.B + k * NR + static_cast<std::size_t>(j) * W);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) {
      std::int32_t pair;
      std::memcpy(&pair, a[i] + k * t.a_k, sizeof(pair));
#pragma GCC unroll 8
      for (int j = 0; j < NV; ++j) c[i][j] = _mm512_dpbf16_ps(c[i][j], (__m512bh)_mm512_set1_epi32(pair), b[j]);
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) {
      const std::size_t at = static_cast<std::size_t>(i) * t.c_row + static_cast<std::size_t>(j) * W;
      if (full) {
        C.put(at, c[i][j]);
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

// out (KB, NR) pairs: rows 2 k and 2 k + 1 of `columns` channels of B.
template <typename T>
FT_KERNEL void pack_panel(const T* x, std::size_t stride, std::size_t rows, std::size_t columns, Pair* out) noexcept {
  for (std::size_t r = 0; r < rows; r += 2, out += NR)
    for (std::size_t j = 0; j < NR; j += W) {
      const std::size_t n = columns > j ? columns - j : 0;
      const __m256i a = halves(x + r * stride + (n ? j : 0), n);
      const __m256i b = r + 1 < rows ? halves(x + (r + 1) * stride + (n ? j : 0), n) : _mm256_setzero_si256();
      _mm512_storeu_si512(out + j, interleave(a, b));
    }
}

// out (MB / MR, K, MR) pairs: tokens 2 k and 2 k + 1 of `words` columns of dlogits.
FT_KERNEL void pack_words(const Bf16* x, std::size_t stride, std::size_t tokens, std::size_t words,
                          Pair* out) noexcept {
  const std::size_t K = (tokens + 1) / 2;
  for (std::size_t k = 0; k < K; ++k) {
    alignas(64) Pair pairs[MB + W];  // the last group's load of eight goes beyond its six
    const Bf16* row = x + 2 * k * stride;
    for (std::size_t w = 0; w < MB; w += W) {
      const std::size_t n = words > w ? words - w : 0, at = n ? w : 0;
      const __m256i b = 2 * k + 1 < tokens ? halves(row + stride + at, n) : _mm256_setzero_si256();
      _mm512_store_si512(pairs + w, interleave(halves(row + at, n), b));
    }
    for (std::size_t g = 0; g < MB / MR; ++g)
      _mm256_mask_storeu_epi32(out + (g * K + k) * MR, 0x3f,
                               _mm256_loadu_si256(reinterpret_cast<const __m256i*>(pairs + g * MR)));
  }
}

// Words [begin, end) of dweight, of a block of tokens whose x is packed.
template <typename Sums>
FT_KERNEL void dweight_words(const LogitsProductArgs& p, Sums sums, std::size_t first_token, std::size_t tokens,
                             std::size_t begin, std::size_t end) noexcept {
  alignas(64) Pair A[MB * KB];
  const std::size_t K = (tokens + 1) / 2, words = end - begin, groups = (words + MR - 1) / MR;
  pack_words(static_cast<const Bf16*>(p.dlogits) + first_token * p.V + begin, p.V, tokens, words, A);
  for (std::size_t c = 0; c < p.C; c += NR)
    for (std::size_t g = 0; g < groups; ++g) {
      const Tile t{reinterpret_cast<const Bf16*>(A + g * K * MR), 2, 2 * MR, p.work + c * KB, p.C, K,
                   p.keep || first_token > 0};
      // The next tile, down the words and then right; where it is not whole, this one again: only a hint.
      const bool down = (g + 2) * MR <= words, right = c + 2 * NR <= p.C && MR <= words;
      const std::size_t here = (begin + g * MR) * p.C + c;
      const std::size_t next = down ? here + MR * p.C : right ? begin * p.C + c + NR : here;
      multiply(t, sums.at(here), sums.at(next), words - g * MR, p.C - c);
    }
}

template <typename Sums>
void dweight_blocks(const LogitsProductArgs& p, Sums sums) noexcept {
  for (std::size_t token = 0; token < p.N; token += 2 * KB) {
    const std::size_t tokens = p.N - token < 2 * KB ? p.N - token : 2 * KB;
    const auto* x = static_cast<const Bf16*>(p.other) + token * p.C;
    parallel_for(product_panels(p.C), p.threads, [&](std::size_t n) {
      pack_panel(x + n * NR, p.C, tokens, p.C - n * NR, p.work + n * NR * KB);
    });
    parallel_ranges(p.V, MB, p.threads, [&](std::size_t begin, std::size_t end) {
      dweight_words(p, sums, token, tokens, begin, end);
    });
  }
}

void dweight(const LogitsProductArgs& p) noexcept {
  if (p.lower)
    dweight_blocks(p, Halves{static_cast<std::uint16_t*>(p.sum), p.lower});
  else
    dweight_blocks(p, Whole{static_cast<float*>(p.sum)});
}

// dx of tokens [begin, end) and panels [from, to) of channels, `work` of them all its own.
template <typename T>
FT_KERNEL void dx_part(const LogitsProductArgs& p, std::size_t begin, std::size_t end, std::size_t from, std::size_t to,
                       Pair* work) noexcept {
  const Whole sums{static_cast<float*>(p.sum)};
  const auto* weight = static_cast<const T*>(p.other);
  const auto* dlogits = static_cast<const Bf16*>(p.dlogits);
  for (std::size_t word = 0; word < p.V; word += 2 * KB) {
    const std::size_t words = p.V - word < 2 * KB ? p.V - word : 2 * KB, K = words / 2;
    for (std::size_t n = from; n < to; ++n)
      pack_panel(weight + word * p.C + n * NR, p.C, words, p.C - n * NR, work + (n - from) * NR * KB);
    for (std::size_t token = begin; token < end; token += MR) {
      const std::size_t rows = end - token < MR ? end - token : MR;
      const Bf16* A = dlogits + token * p.V + word;
      alignas(16) Pair last[MR] = {};  // the last word alone, where their number is odd: what lies behind it is no pair
      if (words % 2)
        for (std::size_t i = 0; i < rows; ++i) last[i] = A[i * p.V + words - 1].bits;
      for (std::size_t n = from; n < to; ++n) {
        const Pair* B = work + (n - from) * NR * KB;
        const std::size_t here = token * p.C + n * NR, columns = p.C - n * NR;
        const bool right = n + 1 < to && columns >= 2 * NR, down = end - token >= 2 * MR;
        const std::size_t next = right ? here + NR : down ? (token + MR) * p.C + from * NR : here;
        if (down && (n - from) * 2 * W < words)
          for (std::size_t i = 0; i < MR; ++i) __builtin_prefetch(A + (MR + i) * p.V + (n - from) * 2 * W);
        multiply(Tile{A, p.V, 2, B, p.C, K, word > 0}, sums.at(here), sums.at(next), rows, columns);
        if (words % 2) {
          const Tile t{reinterpret_cast<const Bf16*>(last), 2, 0, B + K * NR, p.C, 1, true};
          multiply(t, sums.at(here), sums.at(here), rows, columns);
        }
      }
    }
  }
}

void dx(const LogitsProductArgs& p) noexcept {
  const std::size_t threads = p.threads > 1 ? static_cast<std::size_t>(p.threads) : 1, panels = product_panels(p.C);
  const std::size_t columns = panels < threads ? panels : threads, rows = product_token_groups(p.C, threads);
  const std::size_t height = ((p.N + rows - 1) / rows + MR - 1) / MR * MR;
  parallel_for(rows * columns, p.threads, [&](std::size_t item) {
    const std::size_t r = item / columns, c = item % columns, begin = r * height;
    const std::size_t end = begin + height < p.N ? begin + height : p.N;
    const std::size_t from = c * panels / columns, to = (c + 1) * panels / columns;
    Pair* work = p.work + (r * panels + from) * NR * KB;
    if (begin >= end) return;
    p.bf16 ? dx_part<Bf16>(p, begin, end, from, to, work) : dx_part<float>(p, begin, end, from, to, work);
  });
}
