// The portable implementation.

#include "nn/linear_cross_entropy.h"

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"
#include "nn/linear_cross_entropy_body.h"
#include "nn/linear_cross_entropy_sums.h"

}  // namespace

void linear_cross_entropy_scalar(const LinearCrossEntropyArgs& p) noexcept { rows(p); }
void accumulate_scalar(const AccumulateArgs& p) noexcept { accumulate(p); }
void join_scalar(const JoinArgs& p) noexcept { join(p); }

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

std::span<const Impl<JoinFn>> join_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<JoinFn>{"avx512bf16", Isa::avx512bf16, join_avx512bf16},
      Impl<JoinFn>{"avx512", Isa::avx512, join_avx512},
      Impl<JoinFn>{"avx2", Isa::avx2, join_avx2},
#endif
      Impl<JoinFn>{"scalar", Isa::any, join_scalar},
  };
  return impls;
}

#if defined(__x86_64__)
std::span<const Impl<LossFn>> linear_loss_impls() {
  static constexpr std::array impls{Impl<LossFn>{"avx512bf16", Isa::avx512bf16, linear_loss_avx512bf16}};
  return impls;
}

std::span<const Impl<DweightFn>> linear_dweight_impls() {
  static constexpr std::array impls{Impl<DweightFn>{"avx512bf16", Isa::avx512bf16, linear_dweight_avx512bf16}};
  return impls;
}
#else
std::span<const Impl<LossFn>> linear_loss_impls() { return {}; }
std::span<const Impl<DweightFn>> linear_dweight_impls() { return {}; }
#endif

}  // namespace fasttrain::nn
