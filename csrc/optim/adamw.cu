// One launch over a flat buffer. Bound by memory (28 bytes a value), so each thread moves 16 bytes an access; a buffer
// that is not 16-byte aligned, and the last N % 4 values, go one by one. Same operations and roundings as the CPU's
// (__f*_rn keeps the compiler from fusing), so the bits are the same too. bf16 parameters alone go a value a thread.

#include <cuda_bf16.h>

#include <cstdint>

#include "optim/adamw_cuda.h"
#include "optim/stochastic.cuh"

namespace fasttrain::optim {
namespace {

constexpr int threads = 256;

__device__ float step(float& param, float grad, float& m, float& v, const AdamwCoefficients& c, float scale) {
  const float g = __fmul_rn(__fmul_rn(grad, c.grad_scale), scale);
  m = __fadd_rn(m, __fmul_rn(__fsub_rn(g, m), c.one_minus_beta1));
  v = __fadd_rn(__fmul_rn(v, c.beta2), __fmul_rn(__fmul_rn(g, g), c.one_minus_beta2));
  const float root = __fadd_rn(__fmul_rn(__fsqrt_rn(v), c.v_scale), c.eps);
  return param = __fsub_rn(__fmul_rn(param, c.keep), __fmul_rn(__fdiv_rn(m, root), c.lr));
}

// `quads` groups of four come first, a thread each; then the rest, one by one.
__global__ void __launch_bounds__(threads) adamw_kernel(AdamwCudaArgs p, std::size_t quads) {
  const std::size_t i = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x;
  const float scale = p.scale ? *p.scale : 1.0f;
  if (i < quads) {
    float4 p4 = reinterpret_cast<float4*>(p.param)[i], m4 = reinterpret_cast<float4*>(p.m)[i];
    float4 v4 = reinterpret_cast<float4*>(p.v)[i];
    const float4 g4 = reinterpret_cast<const float4*>(p.grad)[i];
    step(p4.x, g4.x, m4.x, v4.x, p.c, scale);
    step(p4.y, g4.y, m4.y, v4.y, p.c, scale);
    step(p4.z, g4.z, m4.z, v4.z, p.c, scale);
    step(p4.w, g4.w, m4.w, v4.w, p.c, scale);
    reinterpret_cast<float4*>(p.param)[i] = p4;
    reinterpret_cast<float4*>(p.m)[i] = m4;
    reinterpret_cast<float4*>(p.v)[i] = v4;
    if (p.zero) reinterpret_cast<float4*>(p.grad)[i] = {0.0f, 0.0f, 0.0f, 0.0f};
    if (p.copy) {
      const __nv_bfloat162 low = __floats2bfloat162_rn(p4.x, p4.y), high = __floats2bfloat162_rn(p4.z, p4.w);
      static_cast<uint2*>(p.copy)[i] = {*reinterpret_cast<const std::uint32_t*>(&low),
                                        *reinterpret_cast<const std::uint32_t*>(&high)};
    }
  } else if (const std::size_t j = 4 * quads + (i - quads); j < p.N) {
    const float param = step(p.param[j], p.grad[j], p.m[j], p.v[j], p.c, scale);
    if (p.zero) p.grad[j] = 0.0f;
    if (p.copy) static_cast<__nv_bfloat16*>(p.copy)[j] = __float2bfloat16_rn(param);
  }
}

__global__ void __launch_bounds__(threads) adamw_stochastic_kernel(AdamwCudaArgs p) {
  const std::size_t i = blockIdx.x * static_cast<std::size_t>(threads) + threadIdx.x;
  if (i >= p.N) return;
  auto* const half = static_cast<std::uint16_t*>(p.copy);
  float param = widen(half[i]);
  step(param, p.grad[i], p.m[i], p.v[i], p.c, p.scale ? *p.scale : 1.0f);
  half[i] = rounded_by(param, random_half(p.place, i));
  if (p.zero) p.grad[i] = 0.0f;
}

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace

int adamw_flat_cuda(const AdamwCudaArgs& p, void* stream) noexcept {
  if (p.N == 0) return 0;
  if (p.param == nullptr) {
    const auto blocks = static_cast<unsigned>((p.N + threads - 1) / threads);
    adamw_stochastic_kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(p);
    return static_cast<int>(cudaGetLastError());
  }
  const bool wide = aligned(p.param) && aligned(p.grad) && aligned(p.m) && aligned(p.v) && aligned(p.copy);
  const std::size_t quads = wide ? p.N / 4 : 0, items = quads + (p.N - 4 * quads);
  const auto blocks = static_cast<unsigned>((items + threads - 1) / threads);
  adamw_kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(p, quads);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::optim
