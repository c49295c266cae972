#pragma once
// What kernels that are bound by memory share: eight values, fp32 or bf16, in 16-byte accesses, computed with as floats.

#include <cuda_bf16.h>

#include <cstddef>
#include <cstdint>

namespace fasttrain {

template <typename T>
struct Raw8;
template <>
struct Raw8<float> {
  float4 low, high;
};
template <>
struct Raw8<__nv_bfloat16> {
  uint4 bits;
};

// chunk: index in units of eight values; the array begins on a multiple of 16 bytes.
template <typename T>
__device__ inline Raw8<T> load8(const void* x, std::size_t chunk) {
  return static_cast<const Raw8<T>*>(x)[chunk];
}
__device__ inline void to_floats(float (&out)[8], const Raw8<float>& x) {
  out[0] = x.low.x, out[1] = x.low.y, out[2] = x.low.z, out[3] = x.low.w;
  out[4] = x.high.x, out[5] = x.high.y, out[6] = x.high.z, out[7] = x.high.w;
}
__device__ inline void to_floats(float (&out)[8], const Raw8<__nv_bfloat16>& x) {
  const std::uint32_t words[4] = {x.bits.x, x.bits.y, x.bits.z, x.bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    out[2 * i] = __uint_as_float(words[i] << 16);
    out[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
template <typename T>
__device__ Raw8<T> from_floats(const float (&x)[8]);
template <>
__device__ inline Raw8<float> from_floats<float>(const float (&x)[8]) {
  return {{x[0], x[1], x[2], x[3]}, {x[4], x[5], x[6], x[7]}};
}
template <>
__device__ inline Raw8<__nv_bfloat16> from_floats<__nv_bfloat16>(const float (&x)[8]) {
  std::uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const __nv_bfloat162 two = __floats2bfloat162_rn(x[2 * i], x[2 * i + 1]);
    words[i] = *reinterpret_cast<const std::uint32_t*>(&two);
  }
  return {{words[0], words[1], words[2], words[3]}};
}
template <typename T>
__device__ inline void store8(void* x, std::size_t chunk, const float (&values)[8]) {
  static_cast<Raw8<T>*>(x)[chunk] = from_floats<T>(values);
}

__device__ inline float to_float(float x) { return x; }
__device__ inline float to_float(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline void write(float* x, float value) { *x = value; }
__device__ inline void write(__nv_bfloat16* x, float value) { *x = __float2bfloat16_rn(value); }

}  // namespace fasttrain
