// The portable implementation.

#include "nn/attention.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/ordered.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/attention_rows.h"
#include "nn/vector_scalar.h"
constexpr int NV = 2;
#include "nn/attention_softcap.h"
#include "nn/attention_finite.h"
#include "nn/attention_body.h"
#include "nn/attention_direct_body.h"
#include "nn/attention_decode_body.h"
#include "nn/attention_forward_body.h"
#include "nn/attention_backward_items.h"
#include "nn/attention_backward_body.h"

}  // namespace

void attention_forward_scalar(const AttentionArgs& p) noexcept {
  p.bf16 ? forward_as<Bf16>(p) : forward_as<float>(p);
}
void attention_backward_scalar(const AttentionArgs& p) noexcept {
  p.bf16 ? backward_as<Bf16>(p) : backward_as<float>(p);
}

std::span<const Impl<AttentionFn>> attention_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<AttentionFn>{"avx512bf16", Isa::avx512bf16, attention_forward_avx512bf16},
      Impl<AttentionFn>{"avx512", Isa::avx512, attention_forward_avx512},
      Impl<AttentionFn>{"avx2", Isa::avx2, attention_forward_avx2},
#endif
      Impl<AttentionFn>{"scalar", Isa::any, attention_forward_scalar},
  };
  return impls;
}

std::span<const Impl<AttentionFn>> attention_backward_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<AttentionFn>{"avx512bf16", Isa::avx512bf16, attention_backward_avx512bf16},
      Impl<AttentionFn>{"avx512", Isa::avx512, attention_backward_avx512},
      Impl<AttentionFn>{"avx2", Isa::avx2, attention_backward_avx2},
#endif
      Impl<AttentionFn>{"scalar", Isa::any, attention_backward_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
