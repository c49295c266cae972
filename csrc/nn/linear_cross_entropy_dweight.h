#pragma once /* part of linear_cross_entropy */
// dweight (V,C) (+)= e^T bf16(scale x), then the target's share, over the products of linear_cross_entropy_product.h.
//
// The sums are read and written once a block of tokens and asked for a tile before: memory is busy while the CPU
// multiplies, which torch's product into an array of its own and an addition cannot do.

constexpr std::size_t KB = loss_block / 2;  // pairs of tokens: a panel of them, 32 KB, stays in L1
constexpr std::size_t MB = 96;              // words at a time: 48 KB, and 288 KB of sums that the panels come back to
static_assert(MB % MR == 0 && MB % 2 == 0);

// Channels [j, ..) of bf16(scale x) of a token, zeros for one that is ignored or not there.
FT_INLINE __m256i scaled(const DweightArgs& p, std::size_t token, std::size_t end, std::size_t j) noexcept {
  if (token >= end || j >= p.C || p.targets[token] == ignored_target) return _mm256_setzero_si256();
  const __m256i x = halves(static_cast<const Bf16*>(p.x) + token * p.C + j, p.C - j);
  return narrow(mul(widen(x), set1(p.factors[token])));
}

// out (KB, NR) pairs: tokens 2 k and 2 k + 1 of [begin, end) and NR channels.
FT_KERNEL void pack_tokens(const DweightArgs& p, std::size_t begin, std::size_t end, std::size_t channel,
                           Pair* out) noexcept {
  for (std::size_t token = begin; token < begin + (end - begin + NR - 1) / NR * NR; token += 2, out += NR)
    for (std::size_t j = 0; j < NR; j += W)
      _mm512_storeu_si512(
          out + j, interleave(scaled(p, token, end, channel + j), scaled(p, token + 1, end, channel + j)));
}

// out (words, K) pairs along tokens, of `groups` of exponentials that hold pairs along words.
FT_KERNEL void pack_words(const DweightArgs& p, std::size_t group, std::size_t groups, std::size_t begin,
                          std::size_t end, Pair* out) noexcept {
  const std::size_t rows = (p.V + 1) / 2, K = groups * NR / 2;
  for (std::size_t w = begin; w < end; w += 2, out += 2 * K)
    for (std::size_t g = 0; g < groups; ++g) {
      const Pair* in = p.exps + ((group + g) * rows + w / 2) * NR;
#pragma GCC unroll 2
      for (std::size_t j = 0; j < NR; j += 2 * W) {
        const __m512i a = _mm512_loadu_si512(in + j), b = _mm512_loadu_si512(in + j + W);
        _mm512_storeu_si512(out + g * NR / 2 + j / 2, _mm512_permutex2var_epi16(a, even_places(), b));
        _mm512_storeu_si512(out + K + g * NR / 2 + j / 2, _mm512_permutex2var_epi16(a, odd_places(), b));
      }
    }
}

// Words [begin, end) of dweight, of a block of tokens whose bf16(scale x) is packed.
template <typename Sums>
FT_KERNEL void dweight_words(const DweightArgs& p, Sums sums, std::size_t token, std::size_t groups, std::size_t begin,
                             std::size_t end) noexcept {
  alignas(64) Pair A[MB * KB];
  const std::size_t K = groups * NR / 2, words = end - begin, tiles = (words + MR - 1) / MR;
  pack_words(p, token / NR, groups, begin, end, A);
  // The next words' exponentials come into the cache too, a share of their lines in each tile: 3 % of the time.
  const std::size_t rows = (p.V + 1) / 2, lines = end + MB <= p.V ? MB / 2 * NR * sizeof(Pair) / 64 : 0;  // of a group
  const std::size_t all = tiles * ((p.C + NR - 1) / NR), share = all ? (lines * groups + all - 1) / all : 0;
  std::size_t line = 0;
  for (std::size_t c = 0; c < p.C; c += NR)
    for (std::size_t g = 0; g < tiles; ++g) {
      for (std::size_t i = 0; i < share && line < lines * groups; ++i, ++line)
        __builtin_prefetch(p.exps + ((token / NR + line / lines) * rows + end / 2) * NR + line % lines * 16, 0, 2);
      const Tile t{reinterpret_cast<const Bf16*>(A + g * MR * K), 2 * K, 2, p.work + c * KB, p.C, K,
                   p.keep || token > 0};
      // The next tile, down the words and then right; where it is not whole, this one again: only a hint.
      const bool down = (g + 2) * MR <= words, right = c + 2 * NR <= p.C && MR <= words;
      const std::size_t here = (begin + g * MR) * p.C + c;
      const std::size_t next = down ? here + MR * p.C : right ? begin * p.C + c + NR : here;
      multiply(t, sums.at(here), sums.at(next), words - g * MR, p.C - c);
    }
}

// sums += (scale e - dnll) x - bf16(e) bf16(scale x), channels [from, to) of token i's target.
template <typename Sums>
FT_KERNEL void dweight_target(const DweightArgs& p, Sums sums, std::size_t i, std::size_t from,
                              std::size_t to) noexcept {
  const float scale = p.factors[i], exact = p.factors[p.N + i], rounded = p.factors[2 * p.N + i];
  const auto* x = static_cast<const Bf16*>(p.x) + i * p.C;
  const Sums at = sums.at(static_cast<std::size_t>(p.targets[i]) * p.C);
  std::size_t c = from;
  for (; c + W <= to; c += W) {
    const V v = load(x + c), kept = widen(narrow(mul(v, set1(scale))));
    at.put(c, fma(set1(-rounded), kept, fma(set1(exact), v, at.get(c))));
  }
  for (; c < to; ++c) {
    const float v = to_float(x[c]), kept = to_float(from_float<Bf16>(v * scale));
    at.put_one(c, std::fma(-rounded, kept, std::fma(exact, v, at.get_one(c))));
  }
}

template <typename Sums>
void dweight_blocks(const DweightArgs& p, Sums sums) noexcept {
  const std::size_t panels = (p.C + NR - 1) / NR;
  for (std::size_t token = 0; token < p.N; token += loss_block) {
    const std::size_t tokens = p.N - token < loss_block ? p.N - token : loss_block, groups = (tokens + NR - 1) / NR;
    parallel_for(panels, p.threads,
                 [&](std::size_t n) { pack_tokens(p, token, token + tokens, n * NR, p.work + n * NR * KB); });
    parallel_ranges(p.V, MB, p.threads, [&](std::size_t begin, std::size_t end) {
      dweight_words(p, sums, token, groups, begin, end);
    });
  }
  const std::size_t threads = p.threads > 1 ? static_cast<std::size_t>(p.threads) : 1;
  const std::size_t width = (panels + threads - 1) / threads * NR;
  parallel_ranges(p.C, width, p.threads, [&](std::size_t from, std::size_t to) {  // tokens may share a target: in order
    for (std::size_t i = 0; i < p.N; ++i)
      if (p.targets[i] != ignored_target) dweight_target(p, sums, i, from, to);
  });
}

void dweight(const DweightArgs& p) noexcept {
  if (p.lower)
    dweight_blocks(p, Halves{static_cast<std::uint16_t*>(p.sum), p.lower});
  else
    dweight_blocks(p, Whole{static_cast<float*>(p.sum)});
}
