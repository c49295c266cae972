// The portable implementation.

#include "nn/rope.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"
#include "nn/rope_body.h"

}  // namespace

void rope_scalar(const RopeArgs& p) noexcept { run(p); }

std::span<const Impl<RopeFn>> rope_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<RopeFn>{"avx512bf16", Isa::avx512bf16, rope_avx512bf16},
      Impl<RopeFn>{"avx512", Isa::avx512, rope_avx512},
      Impl<RopeFn>{"avx2", Isa::avx2, rope_avx2},
#endif
      Impl<RopeFn>{"scalar", Isa::any, rope_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
