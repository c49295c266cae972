// Bound by memory: eight values a thread in 16-byte accesses, the last N % 8 one by one.

#include "core/device.cuh"
#include "nn/gelu_cuda.h"

namespace fasttrain::nn {
namespace {

using bf16 = __nv_bfloat16;

constexpr int threads = 256;
constexpr float linear = 1.595769122f;   // 2 sqrt(2/pi)
constexpr float cubic = 0.07135481283f;  // 0.044715 of it
constexpr float most = 100.0f;           // of x^2, as on the CPU (gelu_body.h): no infinity meets a 0

// exp(-|y|) and 1 / (1 + it). In bf16 the hardware's approximations are far below the rounding.
template <typename T>
__device__ void sigmoid_parts(float y, float& e, float& r) {
  if constexpr (sizeof(T) == 2) {
    e = __expf(-fabsf(y));
    r = __fdividef(1.0f, 1.0f + e);
  } else {
    e = expf(-fabsf(y));
    r = 1.0f / (1.0f + e);
  }
}

template <typename T>
__device__ float forward(float x) {
  const float y = x * fmaf(cubic, fminf(most, x * x), linear);  // 2 u; NaN by its first factor
  float e, r;
  sigmoid_parts<T>(y, e, r);
  return x * (y < 0.0f ? e * r : r);
}

template <typename T>
__device__ float backward(float dout, float x) {
  const float x2 = fminf(most, x * x), y = x * fmaf(cubic, x2, linear);
  float e, r;
  sigmoid_parts<T>(y, e, r);
  const float er = e * r, inner = fmaf(3.0f * cubic, x2, linear);  // sigmoid(-|y|), 2 u'
  // s (1 - s) as a product, since 1 - s would cancel; x times it first, since far out it is 0.
  return dout * fmaf(x * (er * r), inner, y < 0.0f ? er : r);
}

template <typename T>
__global__ void __launch_bounds__(threads) gelu_kernel(GeluArgs p) {
  const std::size_t chunk = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x, at = chunk * 8;
  if (at + 8 <= p.N) {
    float x[8];
    to_floats(x, load8<T>(p.x, chunk));
#pragma unroll
    for (float& value : x) value = forward<T>(value);
    store8<T>(p.out, chunk, x);
  } else {
    for (std::size_t i = at; i < p.N; ++i)
      write(static_cast<T*>(p.out) + i, forward<T>(to_float(static_cast<const T*>(p.x)[i])));
  }
}

template <typename T>
__global__ void __launch_bounds__(threads) gelu_backward_kernel(GeluArgs p) {
  const std::size_t chunk = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x, at = chunk * 8;
  if (at + 8 <= p.N) {
    float x[8], dout[8];
    const Raw8<T> x8 = load8<T>(p.x, chunk), dout8 = load8<T>(p.dout, chunk);
    to_floats(x, x8), to_floats(dout, dout8);
#pragma unroll
    for (int i = 0; i < 8; ++i) x[i] = backward<T>(dout[i], x[i]);
    store8<T>(p.dx, chunk, x);
  } else {
    for (std::size_t i = at; i < p.N; ++i)
      write(static_cast<T*>(p.dx) + i,
            backward<T>(to_float(static_cast<const T*>(p.dout)[i]), to_float(static_cast<const T*>(p.x)[i])));
  }
}

unsigned blocks_of(std::size_t N) { return static_cast<unsigned>((N + threads * 8 - 1) / (threads * 8)); }

}  // namespace

int gelu_cuda(const GeluArgs& p, void* stream) noexcept {
  if (p.N == 0) return 0;
  const auto kernel = p.bf16 ? gelu_kernel<bf16> : gelu_kernel<float>;
  kernel<<<blocks_of(p.N), threads, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return static_cast<int>(cudaGetLastError());
}

int gelu_backward_cuda(const GeluArgs& p, void* stream) noexcept {
  if (p.N == 0) return 0;
  const auto kernel = p.bf16 ? gelu_backward_kernel<bf16> : gelu_backward_kernel<float>;
  kernel<<<blocks_of(p.N), threads, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::nn
