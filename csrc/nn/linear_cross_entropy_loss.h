#pragma once /* part of linear_cross_entropy */
// Losses of a chunk of tokens, their exponentials and dx, over the products of linear_cross_entropy_product.h.
//
//   logits^T (words x tokens): a pair of the weight, as it lies, is broadcast; x lies in panels of NR tokens
//   dx^T (channels x tokens) += weight^T e^T: the exponentials are panels as they were stored
//
// Tokens lie in the lanes: sums over words want no lane of another's, and a tile becomes exponentials while it is in
// registers, so that no logit is ever in memory. Words come in blocks, which both products take from the cache.

constexpr std::size_t WB = loss_words, slices = 4;  // a thread takes a slice of the words and a group of tokens
constexpr std::size_t slice_words = WB / slices;
constexpr std::size_t samples = 48;                 // words whose greatest logit is what all are compared with
constexpr float farthest = 30.0f;                   // above it; e^30 and x e^-30 are as exact in bf16 as 1 and x
static_assert(slice_words % MR == 0 && MR % 2 == 0 && samples % MR == 0 && samples <= WB);

struct Group {  // of NR tokens
  std::int32_t target[NR];
  float ref[NR], top[NR], sum[NR], picked[NR];  // logits: what is subtracted, the greatest, sum exp, the target's
};
struct Part {  // of a group, by a slice of words
  float top[NR], sum[NR];
};
static_assert(sizeof(Group) == loss_group_bytes && sizeof(Part) * slices == loss_parts_bytes);

struct Chunk {
  const LossArgs& p;
  std::size_t groups, pairs, channels;  // of N, of C, and C rounded up to whole tiles
  Pair *x, *words;                      // (groups, pairs, NR), (channels / weight_channels, WB / 2, weight_channels)
  float* dx;                            // (groups, channels, NR)
  Group* group;                         // (groups,)
  Part* part;                           // (groups, slices)
  Bf16* cast;                           // (WB, 2 pairs) where rows of the weight are no pairs of bf16
  Pair* more = nullptr;                 // words and cast of each further thread
};

struct Rows {  // of the weight, in bf16
  const Bf16* data;
  std::size_t stride, first, n;
};

Chunk chunk_of(const LossArgs& p) noexcept {
  const LossWork size = loss_work_of(p.N, p.C, !p.bf16);
  Pair* at = p.work;
  const auto take = [&](std::size_t n) {
    Pair* const here = at;
    at += n;
    return here;
  };
  Chunk c{p, size.groups, size.pairs, size.channels, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr};
  c.x = take(size.x), c.words = take(size.words), c.dx = reinterpret_cast<float*>(take(size.dx));
  c.group = reinterpret_cast<Group*>(take(size.group)), c.part = reinterpret_cast<Part*>(take(size.parts));
  c.cast = reinterpret_cast<Bf16*>(take(size.cast)), c.more = at;
  return c;
}

// 2^x for x < 127, within 2e-7; less than 1.2e-38 counts as 0 or near it; NaN stays.
FT_INLINE V exp2_of(V x) noexcept {
  const V r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // x - floor(x)
  V p = set1(1.8775767e-3f);
  p = fma(p, r, set1(8.9893397e-3f));
  p = fma(p, r, set1(5.5826318e-2f));
  p = fma(p, r, set1(2.4015361e-1f));
  p = fma(p, r, set1(6.9315308e-1f));
  p = fma(p, r, set1(9.9999994e-1f));
  return _mm512_scalef_ps(p, x);  // p 2^floor(x)
}
FT_INLINE V exp_of(V logits, V ref) noexcept { return exp2_of(mul(sub(logits, ref), set1(1.44269504f))); }

// x of a group as a panel, zeros for tokens that are ignored or not there; and what the group begins with.
FT_KERNEL void begin_group(const Chunk& c, std::size_t g) noexcept {
  const LossArgs& p = c.p;
  Group& group = c.group[g];
  const auto* x = static_cast<const Bf16*>(p.x) + g * NR * p.C;
  for (std::size_t lane = 0; lane < NR; ++lane) {
    const std::size_t i = g * NR + lane;
    const bool counts = i < p.N && p.targets[i] != ignored_target;
    group.target[lane] = counts ? static_cast<std::int32_t>(p.targets[i]) : -1;
    group.picked[lane] = 0.0f;
  }
  for (std::size_t lane = 0; lane < NR; lane += W)
    for (std::size_t k = 0; k < c.pairs; k += W) {
      const std::size_t n = p.C - 2 * k;
      const __mmask32 there = n >= 2 * W ? ~0u : (1u << n) - 1u;
      V rows[W];
      for (std::size_t l = 0; l < W; ++l)
        rows[l] = group.target[lane + l] < 0
                      ? zero()
                      : _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(there, x + (lane + l) * p.C + 2 * k));
      transpose(rows);
      for (std::size_t l = 0; l < W && k + l < c.pairs; ++l)
        store(reinterpret_cast<float*>(c.x + (g * c.pairs + k + l) * NR + lane), rows[l]);
    }
}

// Words [begin, end) of a block, `step` apart in the weight, where it begins with `from`.
template <typename T>
FT_KERNEL void cast_rows(const Chunk& c, std::size_t from, std::size_t step, std::size_t begin,
                         std::size_t end) noexcept {
  for (std::size_t w = begin; w < end; ++w) {
    const T* in = static_cast<const T*>(c.p.weight) + (from + w * step) * c.p.C;
    Bf16* out = c.cast + w * 2 * c.pairs;
    for (std::size_t i = 0; i < 2 * c.pairs; i += W) {
      const __m256i v = halves(in + i, c.p.C - i);
      if (i + W <= 2 * c.pairs)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), v);
      else
        _mm256_mask_storeu_epi16(out + i, first(2 * c.pairs - i), v);
    }
  }
}

Rows rows_of(const Chunk& c, std::size_t first, std::size_t step, std::size_t n) noexcept {
  const LossArgs& p = c.p;
  if (p.bf16 && p.C % 2 == 0) return {static_cast<const Bf16*>(p.weight) + first * p.C, step * p.C, first, n};
  parallel_ranges(n, slice_words, p.threads, [&](std::size_t begin, std::size_t end) {
    p.bf16 ? cast_rows<Bf16>(c, first, step, begin, end) : cast_rows<float>(c, first, step, begin, end);
  });
  return {c.cast, 2 * c.pairs, first, n};
}

// What comes into the cache while the CPU multiplies.
struct Ahead {
  const char *at, *end;
  FT_INLINE void next() noexcept {
    if (at < end) __builtin_prefetch(at, 0, 2);
    at += 64;
  }
};
constexpr std::size_t ahead_pairs = 32;
constexpr int ahead_lines = 4;

// Logits of `words` words from rows.first + word on, of a group of tokens: only the greatest one, or the sum too and,
// where there is `out`, exponentials, (words / 2, NR) pairs along words.
template <bool full, bool sums>
FT_KERNEL void logits_tile(const Rows& rows, std::size_t word, std::size_t words, const Pair* x, std::size_t K,
                           Group& group, Part& part, Pair* out, Ahead ahead) noexcept {
  const int n = full ? MR : static_cast<int>(words);
  V c[MR][NV];
  const Bf16* a[MR];
#pragma GCC unroll 8
  for (int i = 0; i < MR; ++i) {
    a[i] = rows.data + (word + static_cast<std::size_t>(i < n ? i : 0)) * rows.stride;
#pragma GCC unroll 8
    for (int j = 0; j < NV; ++j) c[i][j] = zero();
  }
  for (std::size_t k = 0; k < K; k += ahead_pairs) {
    for (int line = 0; line < ahead_lines; ++line) ahead.next();
    add_products(c, a, 2, x + k * NR, K - k < ahead_pairs ? K - k : ahead_pairs);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) a[i] += 2 * ahead_pairs;
  }
  const __m512i at = _mm512_set1_epi32(static_cast<int>(rows.first + word));
#pragma GCC unroll 8
  for (int j = 0; j < NV; ++j) {
    V top = load(part.top + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i)
      if (i < n) top = max(top, c[i][j]);
    store(part.top + j * W, top);
    if (!sums) continue;
    const __m512i target = _mm512_sub_epi32(_mm512_loadu_si512(group.target + j * W), at);
    if (_mm512_cmplt_epu32_mask(target, _mm512_set1_epi32(n)))
#pragma GCC unroll 8
      for (int i = 0; i < MR; ++i)
        _mm512_mask_storeu_ps(group.picked + j * W, _mm512_cmpeq_epi32_mask(target, _mm512_set1_epi32(i)), c[i][j]);
    const V ref = load(group.ref + j * W);
#pragma GCC unroll 8
    for (int i = 0; i < MR; ++i) c[i][j] = full || i < n ? exp_of(c[i][j], ref) : zero();
    const V sum = add(add(add(c[0][j], c[1][j]), add(c[2][j], c[3][j])), add(c[4][j], c[5][j]));
    store(part.sum + j * W, add(load(part.sum + j * W), sum));
    if (!out) continue;
#pragma GCC unroll 8
    for (int i = 0; i < MR; i += 2)
      if (full || i < n)
        _mm512_storeu_si512(out + static_cast<std::size_t>(i / 2) * NR + static_cast<std::size_t>(j * W),
                            interleave(narrow(c[i][j]), narrow(c[i + 1][j])));
  }
}

void sample(const Chunk& c, const Rows& rows, std::size_t g) noexcept {
  Part part;
  for (float& top : part.top) top = -INFINITY;
  for (std::size_t w = 0; w < rows.n; w += MR)
    logits_tile<false, false>(rows, w, rows.n - w < MR ? rows.n - w : MR, c.x + g * c.pairs * NR, c.pairs, c.group[g],
                              part, nullptr, Ahead{});
  std::memcpy(c.group[g].ref, part.top, sizeof(part.top));
}

void logits_slice(const Chunk& c, const Rows& rows, std::size_t g, std::size_t slice) noexcept {
  Group& group = c.group[g];
  Part& part = c.part[g * slices + slice];
  for (std::size_t lane = 0; lane < NR; ++lane) part.top[lane] = -INFINITY, part.sum[lane] = 0.0f;
  const Pair* x = c.x + g * c.pairs * NR;
  const std::size_t begin = slice * slice_words, most = begin + slice_words, end = most < rows.n ? most : rows.n;
  Pair* const out = c.p.exps ? c.p.exps + (g * ((c.p.V + 1) / 2) + rows.first / 2) * NR : nullptr;
  const std::size_t tiles = c.groups * (WB / MR), row = c.p.C * (c.p.bf16 ? 2 : 4);  // bytes
  const std::size_t next = rows.first + WB < c.p.V ? rows.first + WB : c.p.V;
  const std::size_t share = ((c.p.V - next < WB ? c.p.V - next : WB) * row + tiles - 1) / tiles;
  for (std::size_t w = begin; w < end; w += MR) {  // each tile asks for its share of the next block
    const char* const from = static_cast<const char*>(c.p.weight) + next * row + (g * (WB / MR) + w / MR) * share;
    const Ahead ahead{from, from + share};
    Pair* const here = out ? out + w / 2 * NR : nullptr;
    if (end - w >= MR)
      logits_tile<true, true>(rows, w, MR, x, c.pairs, group, part, here, ahead);
    else
      logits_tile<false, true>(rows, w, end - w, x, c.pairs, group, part, here, ahead);
  }
}

void add_parts(const Chunk& c, std::size_t g) noexcept {
  Group& group = c.group[g];
  for (std::size_t slice = 0; slice < slices; ++slice) {
    const Part& part = c.part[g * slices + slice];
    for (std::size_t lane = 0; lane < NR; ++lane) {
      group.top[lane] = part.top[lane] > group.top[lane] ? part.top[lane] : group.top[lane];
      group.sum[lane] += part.sum[lane];
    }
  }
}

// (K, weight_channels) pairs of words 2 k and 2 k + 1, from channel `begin` on: zeros beyond the last.
FT_KERNEL void pack_weight(const Chunk& c, const Rows& rows, std::size_t begin) noexcept {
  const std::size_t K = (rows.n + 1) / 2;
  Pair* out = c.words + begin * K;
  for (std::size_t k = 0; k < K; ++k)
    for (std::size_t i = begin; i < begin + weight_channels; i += W, out += W) {
      const Bf16* row = rows.data + 2 * k * rows.stride;
      const std::size_t n = c.p.C > i ? c.p.C - i : 0, at = n ? i : 0;
      const __m256i b = 2 * k + 1 < rows.n ? halves(row + rows.stride + at, n) : _mm256_setzero_si256();
      _mm512_storeu_si512(out, interleave(halves(row + at, n), b));
    }
}

// dx^T of a group and channels [begin, end), whole tiles of them, by a block of words.
FT_KERNEL void dx_tiles(const Chunk& c, const Rows& rows, std::size_t g, std::size_t begin, std::size_t end) noexcept {
  const std::size_t K = (rows.n + 1) / 2;
  const Pair* e = c.p.exps + (g * ((c.p.V + 1) / 2) + rows.first / 2) * NR;
  for (std::size_t i = begin; i < end; i += MR) {
    const Whole sums{c.dx + (g * c.channels + i) * NR};
    const Pair* A = c.words + i / weight_channels * weight_channels * K + i % weight_channels;
    const Tile t{reinterpret_cast<const Bf16*>(A), 2, 2 * weight_channels, e, NR, K, rows.first > 0};
    micro<true>(t, sums, sums.at(i + MR < end ? MR * NR : 0), MR, NR);
  }
}

// By one thread, groups [begin, end) of them: nobody waits for another, as after each step of a block.
void block_alone(const Chunk& c, const Rows& rows, std::size_t begin, std::size_t end) noexcept {
  for (std::size_t g = begin; g < end; ++g) {
    for (std::size_t slice = 0; slice < slices; ++slice) logits_slice(c, rows, g, slice);
    add_parts(c, g);
  }
  if (!c.p.dx) return;
  for (std::size_t i = 0; i < c.channels; i += weight_channels) pack_weight(c, rows, i);
  for (std::size_t g = begin; g < end; ++g) dx_tiles(c, rows, g, 0, c.channels);
}

void block(const Chunk& c, const Rows& rows) noexcept {
  const LossArgs& p = c.p;
  parallel_for(c.groups * slices, p.threads, [&](std::size_t item) {
    logits_slice(c, rows, item / slices, item % slices);
  });
  for (std::size_t g = 0; g < c.groups; ++g) add_parts(c, g);
  if (!p.dx) return;
  parallel_ranges(c.channels, weight_channels, p.threads,
                  [&](std::size_t begin, std::size_t) { pack_weight(c, rows, begin); });
  const std::size_t threads = p.threads > 1 ? static_cast<std::size_t>(p.threads) : 1;
  const std::size_t parts = (threads + c.groups - 1) / c.groups, tiles = c.channels / MR;
  parallel_for(c.groups * parts, p.threads, [&](std::size_t item) {
    const std::size_t part = item % parts;
    dx_tiles(c, rows, item / parts, part * tiles / parts * MR, (part + 1) * tiles / parts * MR);
  });
}

// Loss and factors of a group's tokens.
FT_KERNEL void end_group(const Chunk& c, std::size_t g) noexcept {
  const LossArgs& p = c.p;
  const Group& group = c.group[g];
  float picked[NR], rounded[NR];
  for (std::size_t j = 0; j < NR; j += W) {
    const V e = exp_of(load(group.picked + j), load(group.ref + j));  // as it was in its tile
    store(picked + j, e), store(rounded + j, widen(narrow(e)));
  }
  for (std::size_t i = g * NR, lane = 0; i < p.N && lane < NR; ++i, ++lane) {
    float *scale = p.factors + i, *exact = scale + p.N, *kept = exact + p.N;
    p.nll[i] = p.z2[i] = *scale = *exact = *kept = 0.0f;
    if (group.target[lane] < 0) continue;
    const float log_sum = std::log(group.sum[lane]), lse = group.ref[lane] + log_sum;
    const float nll = (group.ref[lane] - group.picked[lane]) + log_sum;  // not lse - picked, whose rounding is lse's
    const float dnll = p.dnll ? p.dnll[i] : 1.0f, dz2 = p.dz2 ? p.dz2[i] : p.z_loss;
    p.nll[i] = nll < 0.0f ? 0.0f : nll;  // by rounding
    p.z2[i] = lse * lse;
    *scale = (dnll + 2.0f * lse * dz2) / group.sum[lane];
    *exact = *scale * picked[lane] - dnll, *kept = rounded[lane];
  }
}

// dx = scale sums + (exact - scale kept) weight[target], rounded once.
template <typename T>
FT_KERNEL void dx_out(const Chunk& c, std::size_t g) noexcept {
  const LossArgs& p = c.p;
  for (std::size_t lane = 0; lane < NR && g * NR + lane < p.N; lane += W)
    for (std::size_t i = 0; i < p.C; i += W) {
      const std::size_t n = p.C - i;
      V sums[W];
      for (std::size_t w = 0; w < W; ++w)
        sums[w] = i + w < c.channels ? load(c.dx + (g * c.channels + i + w) * NR + lane) : zero();
      transpose(sums);
      for (std::size_t l = 0; l < W && g * NR + lane + l < p.N; ++l) {
        const std::size_t token = g * NR + lane + l;
        const float scale = p.factors[token], rest = p.factors[p.N + token] - scale * p.factors[2 * p.N + token];
        V dx = mul(set1(scale), sums[l]);
        if (c.group[g].target[lane + l] >= 0) {
          const auto target = static_cast<std::size_t>(p.targets[token]);
          dx = fma(set1(rest), widen(halves(static_cast<const T*>(p.weight) + target * p.C + i, n)), dx);
        }
        Bf16* out = static_cast<Bf16*>(p.dx) + token * p.C + i;
        n >= W ? store(out, dx) : store_part(out, dx, n);
      }
    }
}

bool is_far(const Group& group) noexcept {
  for (std::size_t lane = 0; lane < NR; ++lane)
    if (group.top[lane] - group.ref[lane] > farthest) return true;
  return false;
}

void loss(const LossArgs& p) noexcept {
  const Chunk c = chunk_of(p);
  parallel_for(c.groups, p.threads, [&](std::size_t g) { begin_group(c, g); });
  const std::size_t n = p.V < samples ? p.V : samples;
  const Rows some = rows_of(c, 0, p.V / n, n);
  parallel_for(c.groups, p.threads, [&](std::size_t g) { sample(c, some, g); });
  for (bool again = true, first_time = true; again; first_time = false) {
    for (std::size_t g = 0; g < c.groups; ++g)
      for (std::size_t lane = 0; lane < NR; ++lane) c.group[g].top[lane] = -INFINITY, c.group[g].sum[lane] = 0.0f;
    if (const std::size_t parts = loss_parts(p.N, p.threads); parts > 1)
      parallel_for(parts, p.threads, [&](std::size_t part) {
        LossArgs alone = p;
        alone.threads = 1;
        Chunk own{alone, c.groups, c.pairs, c.channels, c.x, c.words, c.dx, c.group, c.part, c.cast};
        const LossWork size = loss_work_of(p.N, p.C, !p.bf16);
        if (part) own.words = c.more + (part - 1) * (size.words + size.cast);
        if (part) own.cast = reinterpret_cast<Bf16*>(own.words + size.words);
        for (std::size_t word = 0; word < p.V; word += WB)
          block_alone(own, rows_of(own, word, 1, p.V - word < WB ? p.V - word : WB), part * c.groups / parts,
                      (part + 1) * c.groups / parts);
      });
    else
      for (std::size_t word = 0; word < p.V; word += WB)
        block(c, rows_of(c, word, 1, p.V - word < WB ? p.V - word : WB));
    again = false;  // but where the sample was far off, all that it was for
    for (std::size_t g = 0; g < c.groups && first_time; ++g)
      if (is_far(c.group[g])) std::memcpy(c.group[g].ref, c.group[g].top, sizeof(c.group[g].ref)), again = true;
  }
  parallel_for(c.groups, p.threads, [&](std::size_t g) {
    end_group(c, g);
    if (p.dx) p.bf16 ? dx_out<Bf16>(c, g) : dx_out<float>(c, g);
  });
}
