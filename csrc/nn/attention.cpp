// The portable implementation: vectors of four floats that every compiler lowers to what its target has (SSE2, NEON).

#include "nn/attention.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#define FT_KERNEL
typedef float V __attribute__((vector_size(16)));
typedef std::int32_t I __attribute__((vector_size(16)));
constexpr int W = 4, NV = 2;

inline V load(const float* p) noexcept {
  V v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
inline void store(float* p, V v) noexcept { std::memcpy(p, &v, sizeof(v)); }
inline V set1(float x) noexcept { return V{x, x, x, x}; }
inline V zero() noexcept { return V{}; }
inline V fma(V a, V b, V c) noexcept { return a * b + c; }
inline V add(V a, V b) noexcept { return a + b; }
inline V mul(V a, V b) noexcept { return a * b; }
inline V max(V a, V b) noexcept { return a > b ? a : b; }
inline float hmax(V v) noexcept {
  const float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
}
inline float hsum(V v) noexcept { return (v[0] + v[1]) + (v[2] + v[3]); }
inline V exp_nonpositive(V x) noexcept {  // libm: correctness over speed where nothing else runs
  for (int i = 0; i < W; ++i) x[i] = std::exp(x[i] > 0.0f ? 0.0f : x[i]);
  return x;
}

#include "nn/attention_body.h"

}  // namespace

void attention_forward_scalar(const AttentionArgs& p) noexcept { forward(p); }
void attention_backward_scalar(const AttentionArgs& p) noexcept { backward(p); }

std::span<const Impl<AttentionFn>> attention_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<AttentionFn>{"avx512", Isa::avx512, attention_forward_avx512},
      Impl<AttentionFn>{"avx2", Isa::avx2, attention_forward_avx2},
#endif
      Impl<AttentionFn>{"scalar", Isa::any, attention_forward_scalar},
  };
  return impls;
}

std::span<const Impl<AttentionFn>> attention_backward_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<AttentionFn>{"avx512", Isa::avx512, attention_backward_avx512},
      Impl<AttentionFn>{"avx2", Isa::avx2, attention_backward_avx2},
#endif
      Impl<AttentionFn>{"scalar", Isa::any, attention_backward_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
