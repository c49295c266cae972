// The portable implementation.

#include "nn/swiglu.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"
#include "nn/swiglu_body.h"

}  // namespace

void swiglu_forward_scalar(const SwigluArgs& p) noexcept { forward(p); }
void swiglu_backward_scalar(const SwigluArgs& p) noexcept { backward(p); }

std::span<const Impl<SwigluFn>> swiglu_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<SwigluFn>{"avx512bf16", Isa::avx512bf16, swiglu_forward_avx512bf16},
      Impl<SwigluFn>{"avx512", Isa::avx512, swiglu_forward_avx512},
      Impl<SwigluFn>{"avx2", Isa::avx2, swiglu_forward_avx2},
#endif
      Impl<SwigluFn>{"scalar", Isa::any, swiglu_forward_scalar},
  };
  return impls;
}

std::span<const Impl<SwigluFn>> swiglu_backward_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<SwigluFn>{"avx512bf16", Isa::avx512bf16, swiglu_backward_avx512bf16},
      Impl<SwigluFn>{"avx512", Isa::avx512, swiglu_backward_avx512},
      Impl<SwigluFn>{"avx2", Isa::avx2, swiglu_backward_avx2},
#endif
      Impl<SwigluFn>{"scalar", Isa::any, swiglu_backward_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
