// The portable implementation.

#include "nn/linear_cross_entropy.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"
#include "nn/linear_cross_entropy_body.h"

}  // namespace

void linear_cross_entropy_scalar(const LinearCrossEntropyArgs& p) noexcept { rows(p); }
void accumulate_scalar(const AccumulateArgs& p) noexcept { accumulate(p); }

std::span<const Impl<LinearCrossEntropyFn>> linear_cross_entropy_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<LinearCrossEntropyFn>{"avx512bf16", Isa::avx512bf16, linear_cross_entropy_avx512bf16},
      Impl<LinearCrossEntropyFn>{"avx512", Isa::avx512, linear_cross_entropy_avx512},
      Impl<LinearCrossEntropyFn>{"avx2", Isa::avx2, linear_cross_entropy_avx2},
#endif
      Impl<LinearCrossEntropyFn>{"scalar", Isa::any, linear_cross_entropy_scalar},
  };
  return impls;
}

std::span<const Impl<AccumulateFn>> accumulate_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<AccumulateFn>{"avx512bf16", Isa::avx512bf16, accumulate_avx512bf16},
      Impl<AccumulateFn>{"avx512", Isa::avx512, accumulate_avx512},
      Impl<AccumulateFn>{"avx2", Isa::avx2, accumulate_avx2},
#endif
      Impl<AccumulateFn>{"scalar", Isa::any, accumulate_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
