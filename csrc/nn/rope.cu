// Bound by memory. A thread turns eight pairs of up to four heads of a token in 16-byte accesses: the angles are loaded
// once for them, and eight loads are on their way before the first is used. Heads whose half is no multiple of eight
// go pair by pair. Same operations and roundings as in the CPU's vectors (__f*_rn keeps the compiler from fusing more).

#include <cstdint>
#include <limits>

#include "core/device.cuh"
#include "nn/rope_cuda.h"

namespace fasttrain::nn {
namespace {

using bf16 = __nv_bfloat16;

constexpr unsigned threads = 256, heads = 4;  // of a block; of a thread

__device__ void turn(float& a, float& b, float c, float s) {
  const float first = __fsub_rn(__fmul_rn(a, c), __fmul_rn(b, s));
  b = __fmaf_rn(b, c, __fmul_rn(a, s));
  a = first;
}

// A token has chunks * groups items; a block takes `tokens` tokens. Item: chunk of the half, then group of heads.
template <typename T>
__global__ void __launch_bounds__(threads) rope_kernel(RopeArgs p, unsigned chunks, unsigned groups, unsigned tokens) {
  const auto num_tokens = static_cast<unsigned>(p.B * p.T), H = static_cast<unsigned>(p.H);
  const unsigned items = chunks * groups;
  for (unsigned i = threadIdx.x; i < tokens * items; i += threads) {
    const unsigned token = blockIdx.x * tokens + i / items, item = i % items;
    if (token >= num_tokens) return;
    const unsigned chunk = item % chunks, group = item / chunks;
    const std::size_t angle = p.Bt == 1 ? token % static_cast<unsigned>(p.T) : token;
    float c[8], s[8];
    to_floats(c, load8<float>(p.cos, angle * 2 * chunks + chunk));
    to_floats(s, load8<float>(p.sin, angle * 2 * chunks + chunk));
#pragma unroll
    for (float& x : s) x = p.inverse ? 0.0f - x : x;
    Raw8<T> first[heads], second[heads];
#pragma unroll
    for (unsigned n = 0; n < heads; ++n) {
      const unsigned head = group + n * groups;
      const std::size_t at = (static_cast<std::size_t>(token) * H + head) * 2 * chunks + chunk;
      if (head < H) first[n] = load8<T>(p.x, at), second[n] = load8<T>(p.x, at + chunks);
    }
#pragma unroll
    for (unsigned n = 0; n < heads; ++n) {
      const unsigned head = group + n * groups;
      const std::size_t at = (static_cast<std::size_t>(token) * H + head) * 2 * chunks + chunk;
      if (head >= H) continue;
      float a[8], b[8];
      to_floats(a, first[n]), to_floats(b, second[n]);
#pragma unroll
      for (int k = 0; k < 8; ++k) turn(a[k], b[k], c[k], s[k]);
      store8<T>(p.out, at, a);
      store8<T>(p.out, at + chunks, b);
    }
  }
}

template <typename T>
__global__ void __launch_bounds__(threads) rope_pair_kernel(RopeArgs p, std::size_t pairs) {
  const std::size_t i = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x, half = p.D / 2;
  if (i >= pairs) return;
  const std::size_t d = i % half, head = i / half, token = head / p.H;
  const std::size_t angle = (p.Bt == 1 ? token % p.T : token) * p.D + d, at = head * p.D + d;
  float a = to_float(static_cast<const T*>(p.x)[at]), b = to_float(static_cast<const T*>(p.x)[at + half]);
  turn(a, b, p.cos[angle], p.inverse ? 0.0f - p.sin[angle] : p.sin[angle]);
  write(static_cast<T*>(p.out) + at, a);
  write(static_cast<T*>(p.out) + at + half, b);
}

template <typename T>
int launch(const RopeArgs& p, cudaStream_t stream) {
  const std::size_t num_tokens = p.B * p.T, half = p.D / 2;
  if (num_tokens > std::numeric_limits<unsigned>::max()) return static_cast<int>(cudaErrorInvalidValue);
  if (half % 8 == 0) {
    const auto chunks = static_cast<unsigned>(half / 8), groups = (static_cast<unsigned>(p.H) + heads - 1) / heads;
    const unsigned items = chunks * groups, tokens = items < threads ? threads / items : 1;
    const auto blocks = static_cast<unsigned>((num_tokens + tokens - 1) / tokens);
    rope_kernel<T><<<blocks, threads, 0, stream>>>(p, chunks, groups, tokens);
  } else {
    const std::size_t pairs = num_tokens * p.H * half;
    rope_pair_kernel<T><<<static_cast<unsigned>((pairs + threads - 1) / threads), threads, 0, stream>>>(p, pairs);
  }
  return static_cast<int>(cudaGetLastError());
}

}  // namespace

int rope_cuda(const RopeArgs& p, void* stream) noexcept {
  if (p.B * p.T * p.H * p.D == 0) return 0;
  const auto s = static_cast<cudaStream_t>(stream);
  return p.bf16 ? launch<bf16>(p, s) : launch<float>(p, s);
}

}  // namespace fasttrain::nn
