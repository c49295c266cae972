#pragma once
// Gradient of an embedding: dweight[v] = sum of dout[i] over i with ids[i] = v.     N tokens, V words, C channels.
//
// Tokens are ordered by word first (a counting sort, stable), then every row of dweight is written once: sums in fp32,
// in the order of tokens, or zeros, where there are none yet. So the bits do not depend on the threads, nor on the
// implementation.
// All arrays are fp32 or all bf16. There is no AVX512-BF16 form: its conversion takes denormals for zeros, which would
// be other bits, and the pass waits for memory.
//
// Reference: fasttrain/nn/embedding_ref.py. The face has checked shapes, types and that ids lie in [0, V).

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::nn {

struct EmbeddingArgs {
  const void* dout;         // (N, C)
  const std::int64_t* ids;  // (N,)
  void* dweight;            // (V, C)  out
  std::int64_t* order;      // (N,)  scratch
  std::int64_t* starts;     // (V + 1,)  scratch
  std::size_t N, V, C;
  bool bf16, is_zeroed;  // is_zeroed: dweight holds zeros, and rows of words without a token are left alone
  int threads;
};

using EmbeddingFn = void (*)(const EmbeddingArgs&) noexcept;

void embedding_backward_scalar(const EmbeddingArgs&) noexcept;
void embedding_backward_avx2(const EmbeddingArgs&) noexcept;
void embedding_backward_avx512(const EmbeddingArgs&) noexcept;

// Fills `order` with 0..N-1 by word, and starts[v] with the place of word v's first token.
void embedding_order(const EmbeddingArgs&) noexcept;

std::span<const Impl<EmbeddingFn>> embedding_impls();  // best first

}  // namespace fasttrain::nn
