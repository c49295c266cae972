// The portable implementation.

#include "nn/gelu.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"
#include "nn/gelu_body.h"

}  // namespace

void gelu_forward_scalar(const GeluArgs& p) noexcept { forward(p); }
void gelu_backward_scalar(const GeluArgs& p) noexcept { backward(p); }

std::span<const Impl<GeluFn>> gelu_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<GeluFn>{"avx512bf16", Isa::avx512bf16, gelu_forward_avx512bf16},
      Impl<GeluFn>{"avx512", Isa::avx512, gelu_forward_avx512},
      Impl<GeluFn>{"avx2", Isa::avx2, gelu_forward_avx2},
#endif
      Impl<GeluFn>{"scalar", Isa::any, gelu_forward_scalar},
  };
  return impls;
}

std::span<const Impl<GeluFn>> gelu_backward_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<GeluFn>{"avx512bf16", Isa::avx512bf16, gelu_backward_avx512bf16},
      Impl<GeluFn>{"avx512", Isa::avx512, gelu_backward_avx512},
      Impl<GeluFn>{"avx2", Isa::avx2, gelu_backward_avx2},
#endif
      Impl<GeluFn>{"scalar", Isa::any, gelu_backward_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
