// One launch over a flat buffer. Bound by memory (28 bytes a value), so each thread moves 16 bytes an access; a buffer
// that is not 16-byte aligned, and the last N % 4 values, go one by one. Same operations and roundings as the CPU's
// (__f*_rn keeps the compiler from fusing), so the bits are the same too.

#include <cstdint>

#include "optim/adamw.h"

namespace fasttrain::optim {
namespace {

__device__ void step(float& param, float grad, float& m, float& v, const AdamwCoefficients& c) {
  const float g = __fmul_rn(grad, c.grad_scale);
  m = __fadd_rn(m, __fmul_rn(__fsub_rn(g, m), c.one_minus_beta1));
  v = __fadd_rn(__fmul_rn(v, c.beta2), __fmul_rn(__fmul_rn(g, g), c.one_minus_beta2));
  const float root = __fadd_rn(__fmul_rn(__fsqrt_rn(v), c.v_scale), c.eps);
  param = __fsub_rn(__fmul_rn(param, c.keep), __fmul_rn(__fdiv_rn(m, root), c.lr));
}

__global__ void adamw_kernel(float* param, const float* grad, float* m, float* v, std::size_t N, std::size_t quads,
                             AdamwCoefficients c) {
  const std::size_t first = blockIdx.x * static_cast<std::size_t>(blockDim.x) + threadIdx.x;
  const std::size_t stride = gridDim.x * static_cast<std::size_t>(blockDim.x);
  for (std::size_t i = first; i < quads; i += stride) {
    float4 p4 = reinterpret_cast<float4*>(param)[i], m4 = reinterpret_cast<float4*>(m)[i];
    float4 v4 = reinterpret_cast<float4*>(v)[i];
    const float4 g4 = reinterpret_cast<const float4*>(grad)[i];
    step(p4.x, g4.x, m4.x, v4.x, c);
    step(p4.y, g4.y, m4.y, v4.y, c);
    step(p4.z, g4.z, m4.z, v4.z, c);
    step(p4.w, g4.w, m4.w, v4.w, c);
    reinterpret_cast<float4*>(param)[i] = p4;
    reinterpret_cast<float4*>(m)[i] = m4;
    reinterpret_cast<float4*>(v)[i] = v4;
  }
  for (std::size_t i = 4 * quads + first; i < N; i += stride) step(param[i], grad[i], m[i], v[i], c);
}

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

}  // namespace

int adamw_cuda(const AdamwArgs& p, void* stream) noexcept {
  if (p.N == 0) return 0;
  constexpr int threads = 256;              // 8 warps: enough to hide latency with 4 x 16 bytes in flight a thread
  constexpr std::size_t blocks_max = 4096;  // several waves on any card; the stride loop takes the rest
  const bool wide = aligned(p.param) && aligned(p.grad) && aligned(p.m) && aligned(p.v);
  const std::size_t quads = wide ? p.N / 4 : 0;
  const std::size_t items = quads > 0 ? quads : p.N;
  const std::size_t wanted = (items + threads - 1) / threads;
  const unsigned blocks = static_cast<unsigned>(wanted < blocks_max ? wanted : blocks_max);
  adamw_kernel<<<blocks, threads, 0, static_cast<cudaStream_t>(stream)>>>(p.param, p.grad, p.m, p.v, p.N, quads, p.c);
  return static_cast<int>(cudaGetLastError());
}

}  // namespace fasttrain::optim
