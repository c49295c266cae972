#pragma once
// Dropout whose mask is drawn again where it is needed.           B rows, E values a row, blocks of 64 values.
//
//   bits of value e of row b = word e mod 64 of the Philox block (16 (e / 64), rows[b], step, site) under `seed`
//   out = bits >= threshold ? x scale : 0
//
// The gradient is the same function of dy: no mask is kept. All arrays are fp32 or all bf16, arithmetic is fp32. Every
// implementation gives the same bits, for any number of threads and any split of the rows. No AVX512-BF16
// form: its conversion takes denormals for zeros, which would be other bits, and the time goes into Philox.
//
// Source: Srivastava et al. 2014; core/philox.h. Reference: fasttrain/nn/dropout_ref.py.
// The face has checked shapes and types.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

struct DropoutArgs {
  const void* x;             // (B, E)
  const std::int64_t* rows;  // (B,)  each in [0, 2^32)
  void* out;                 // (B, E)  out
  std::size_t B, E;
  std::uint64_t seed;
  std::uint32_t step, site, threshold;
  float scale;
  bool bf16;
  int threads;
};

using DropoutFn = void (*)(const DropoutArgs&) noexcept;

void dropout_scalar(const DropoutArgs&) noexcept;
void dropout_avx2(const DropoutArgs&) noexcept;
void dropout_avx512(const DropoutArgs&) noexcept;

std::span<const Impl<DropoutFn>> dropout_impls();  // best first

}  // namespace fasttrain::nn
