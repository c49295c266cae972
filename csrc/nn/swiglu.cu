// Bound by memory: eight values a thread in 16-byte accesses, the last N % 8 one by one.

#include <cstdint>

#include "core/device.cuh"
#include "nn/swiglu_cuda.h"

namespace fasttrain::nn {
namespace {

using bf16 = __nv_bfloat16;

constexpr int threads = 256;

// From exp(-|x|), which cannot overflow. In bf16 the hardware's approximations are far below the rounding.
template <typename T>
__device__ float sigmoid(float x) {
  if constexpr (sizeof(T) == 2) {
    const float e = __expf(-fabsf(x));
    return __fdividef(x >= 0.0f ? 1.0f : e, 1.0f + e);
  } else {
    const float e = expf(-fabsf(x));
    return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
  }
}

template <typename T>
__device__ float forward(float gate, float up) {
  return gate * sigmoid<T>(gate) * up;
}
template <typename T>
__device__ void backward(float dout, float gate, float up, float& dgate, float& dup) {
  const float s = sigmoid<T>(gate);
  dgate = dout * up * s * fmaf(gate, 1.0f - s, 1.0f);
  dup = dout * gate * s;
}

template <typename T>
__global__ void __launch_bounds__(threads) swiglu_kernel(SwigluArgs p) {
  const std::size_t chunk = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x, at = chunk * 8;
  if (at + 8 <= p.N) {
    float gate[8], up[8];
    const Raw8<T> gate8 = load8<T>(p.gate, chunk), up8 = load8<T>(p.up, chunk);
    to_floats(gate, gate8), to_floats(up, up8);
#pragma unroll
    for (int i = 0; i < 8; ++i) gate[i] = forward<T>(gate[i], up[i]);
    store8<T>(p.out, chunk, gate);
  } else {
    for (std::size_t i = at; i < p.N; ++i)
      write(static_cast<T*>(p.out) + i,
            forward<T>(to_float(static_cast<const T*>(p.gate)[i]), to_float(static_cast<const T*>(p.up)[i])));
  }
}

template <typename T>
__global__ void __launch_bounds__(threads) swiglu_backward_kernel(SwigluArgs p, unsigned columns) {
  const std::size_t chunk = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x, at = chunk * 8;
  if (columns % 8 == 0) {
    if (at >= p.N) return;
    float dout[8], gate[8], up[8];
    const Raw8<T> dout8 = load8<T>(p.dout, chunk), gate8 = load8<T>(p.gate, chunk), up8 = load8<T>(p.up, chunk);
    to_floats(dout, dout8), to_floats(gate, gate8), to_floats(up, up8);
#pragma unroll
    for (int i = 0; i < 8; ++i) backward<T>(dout[i], gate[i], up[i], gate[i], up[i]);
    const unsigned chunks = columns / 8;  // of a row; N / 8 fits in 32 bits, and in them a division is cheap
    const std::size_t to = chunk + static_cast<std::size_t>(static_cast<unsigned>(chunk) / chunks) * chunks;
    store8<T>(p.dgate, to, gate);
    store8<T>(p.dgate, to + chunks, up);
  } else {
    for (std::size_t i = at; i < p.N && i < at + 8; ++i) {
      const std::size_t to = i + i / columns * columns;
      float dgate, dup;
      backward<T>(to_float(static_cast<const T*>(p.dout)[i]), to_float(static_cast<const T*>(p.gate)[i]),
                  to_float(static_cast<const T*>(p.up)[i]), dgate, dup);
      write(static_cast<T*>(p.dgate) + to, dgate);
      write(static_cast<T*>(p.dgate) + to + columns, dup);
    }
  }
}

unsigned blocks_of(std::size_t N) { return static_cast<unsigned>((N + threads * 8 - 1) / (threads * 8)); }

}  // namespace

int swiglu_cuda(const SwigluArgs& p, void* stream) noexcept {
  if (p.N == 0) return 0;
  const auto kernel = p.bf16 ? swiglu_kernel<bf16> : swiglu_kernel<float>;
  kernel<<<blocks_of(p.N), threads, 0, static_cast<cudaStream_t>(stream)>>>(p);
  return static_cast<int>(cudaGetLastError());
}

int swiglu_backward_cuda(const SwigluArgs& p, std::size_t columns, void* stream) noexcept {
  if (p.N == 0) return 0;
  if (columns == 0 || columns > UINT32_MAX || p.N / 8 > UINT32_MAX) return static_cast<int>(cudaErrorInvalidValue);
  const auto kernel = p.bf16 ? swiglu_backward_kernel<bf16> : swiglu_backward_kernel<float>;
  kernel<<<blocks_of(p.N), threads, 0, static_cast<cudaStream_t>(stream)>>>(p, static_cast<unsigned>(columns));
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::nn
