// The portable implementation.

#include "nn/dropout.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"
#include "core/philox.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"

void draw(const PhiloxBlock& counter, std::uint32_t* bits) noexcept { philox_block_scalar(counter, bits); }
V kept(V v, const std::uint32_t* bits, std::uint32_t threshold) noexcept {
  for (int i = 0; i < W; ++i) v[i] = bits[i] >= threshold ? v[i] : 0.0f;
  return v;
}

#include "nn/dropout_body.h"

}  // namespace

void dropout_scalar(const DropoutArgs& p) noexcept { run(p); }

std::span<const Impl<DropoutFn>> dropout_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<DropoutFn>{"avx512", Isa::avx512, dropout_avx512},
      Impl<DropoutFn>{"avx2", Isa::avx2, dropout_avx2},
#endif
      Impl<DropoutFn>{"scalar", Isa::any, dropout_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
