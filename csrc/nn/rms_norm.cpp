// The portable implementation.

#include "nn/rms_norm.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"
#include "nn/rms_norm_body.h"

constexpr std::size_t columns = 256;  // a range's sums in fp64 stay in L1

}  // namespace

void rms_norm_forward_scalar(const RmsNormArgs& p) noexcept { forward(p); }
void rms_norm_backward_scalar(const RmsNormArgs& p) noexcept { backward(p); }

void rms_norm_sum_parts(const RmsNormArgs& p) noexcept {
  const std::size_t num_parts = (p.N + rms_norm_block - 1) / rms_norm_block;
  parallel_ranges(p.C, columns, p.threads, [&](std::size_t begin, std::size_t end) {
    double sums[columns] = {};
    for (std::size_t i = 0; i < num_parts; ++i)
      for (std::size_t c = begin; c < end; ++c) sums[c - begin] += static_cast<double>(p.parts[i * p.C + c]);
    for (std::size_t c = begin; c < end; ++c) p.dweight[c] = static_cast<float>(sums[c - begin]);
  });
}

std::span<const Impl<RmsNormFn>> rms_norm_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<RmsNormFn>{"avx512bf16", Isa::avx512bf16, rms_norm_forward_avx512bf16},
      Impl<RmsNormFn>{"avx512", Isa::avx512, rms_norm_forward_avx512},
      Impl<RmsNormFn>{"avx2", Isa::avx2, rms_norm_forward_avx2},
#endif
      Impl<RmsNormFn>{"scalar", Isa::any, rms_norm_forward_scalar},
  };
  return impls;
}

std::span<const Impl<RmsNormFn>> rms_norm_backward_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<RmsNormFn>{"avx512bf16", Isa::avx512bf16, rms_norm_backward_avx512bf16},
      Impl<RmsNormFn>{"avx512", Isa::avx512, rms_norm_backward_avx512},
      Impl<RmsNormFn>{"avx2", Isa::avx2, rms_norm_backward_avx2},
#endif
      Impl<RmsNormFn>{"scalar", Isa::any, rms_norm_backward_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
