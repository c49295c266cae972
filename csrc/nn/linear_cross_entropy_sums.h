#pragma once /* part of linear_cross_entropy */
// fp32 sums as they lie in memory, whole or in halves, over the vectors of vector_*.h. `one` is a sum alone.

typedef std::uint32_t Bits __attribute__((vector_size(sizeof(V))));
typedef std::uint16_t HalfBits __attribute__((vector_size(sizeof(V) / 2)));

struct Whole {
  static constexpr int vectors_of_a_line = 64 / sizeof(V) > 1 ? 64 / sizeof(V) : 1;
  float* sum;

  Whole at(std::size_t i) const noexcept { return {sum + i}; }
  FT_INLINE V get(std::size_t i) const noexcept { return load(sum + i); }
  FT_INLINE void put(std::size_t i, V v) const noexcept { store(sum + i, v); }
  FT_INLINE float get_one(std::size_t i) const noexcept { return sum[i]; }
  FT_INLINE void put_one(std::size_t i, float x) const noexcept { sum[i] = x; }
  FT_INLINE void prefetch(std::size_t i) const noexcept { __builtin_prefetch(sum + i, 1); }
};

struct Halves {
  static constexpr int vectors_of_a_line = 128 / sizeof(V);
  std::uint16_t* upper;
  std::uint16_t* lower;

  Halves at(std::size_t i) const noexcept { return {upper + i, lower + i}; }
  FT_INLINE V get(std::size_t i) const noexcept {
    HalfBits high, low;
    std::memcpy(&high, upper + i, sizeof(high)), std::memcpy(&low, lower + i, sizeof(low));
    return (V)(__builtin_convertvector(high, Bits) << 16 | __builtin_convertvector(low, Bits));
  }
  FT_INLINE void put(std::size_t i, V v) const noexcept {
    const HalfBits high = __builtin_convertvector((Bits)v >> 16, HalfBits);
    const HalfBits low = __builtin_convertvector((Bits)v & 0xffffu, HalfBits);
    std::memcpy(upper + i, &high, sizeof(high)), std::memcpy(lower + i, &low, sizeof(low));
  }
  FT_INLINE float get_one(std::size_t i) const noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(upper[i]) << 16 | lower[i]);
  }
  FT_INLINE void put_one(std::size_t i, float x) const noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    upper[i] = static_cast<std::uint16_t>(bits >> 16), lower[i] = static_cast<std::uint16_t>(bits);
  }
  FT_INLINE void prefetch(std::size_t i) const noexcept {
    __builtin_prefetch(upper + i, 1), __builtin_prefetch(lower + i, 1);
  }
};

template <typename T, typename Sums>
FT_KERNEL void add_range(const T* part, Sums sums, std::size_t n, bool keep) noexcept {
  std::size_t i = 0;
  for (; i + W <= n; i += W) sums.put(i, keep ? add(sums.get(i), load(part + i)) : load(part + i));
  for (; i < n; ++i) sums.put_one(i, keep ? sums.get_one(i) + to_float(part[i]) : to_float(part[i]));
}

template <typename T, typename Sums>
void add_ranges(const AccumulateArgs& p, Sums sums) noexcept {
  parallel_ranges(p.N, 65536, p.threads, [&](std::size_t begin, std::size_t end) {
    add_range(static_cast<const T*>(p.part) + begin, sums.at(begin), end - begin, p.keep);
  });
}

void accumulate(const AccumulateArgs& p) noexcept {
  if (p.lower) {
    const Halves sums{static_cast<std::uint16_t*>(p.sum), p.lower};
    p.bf16 ? add_ranges<Bf16>(p, sums) : add_ranges<float>(p, sums);
  } else {
    const Whole sums{static_cast<float*>(p.sum)};
    p.bf16 ? add_ranges<Bf16>(p, sums) : add_ranges<float>(p, sums);
  }
}

FT_KERNEL void join_range(Halves sums, float scale, std::size_t n) noexcept {
  auto* out = reinterpret_cast<Bf16*>(sums.upper);
  const V s = set1(scale);
  std::size_t i = 0;
  for (; i + W <= n; i += W) store(out + i, mul(s, sums.get(i)));
  for (; i < n; ++i) out[i] = from_float<Bf16>(scale * sums.get_one(i));
}

void join(const JoinArgs& p) noexcept {
  parallel_ranges(p.N, 65536, p.threads, [&](std::size_t begin, std::size_t end) {
    join_range(Halves{p.upper, const_cast<std::uint16_t*>(p.lower)}.at(begin), p.scale, end - begin);
  });
}
