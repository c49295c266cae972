// The portable implementation.

#include "nn/embedding.h"

#include <array>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_scalar.h"
#include "nn/embedding_body.h"

}  // namespace

void embedding_order(const EmbeddingArgs& p) noexcept {
  std::memset(p.starts, 0, (p.V + 1) * sizeof(*p.starts));
  for (std::size_t i = 0; i < p.N; ++i) ++p.starts[p.ids[i]];
  std::int64_t end = 0;
  for (std::size_t v = 0; v <= p.V; ++v) end = p.starts[v] += end;  // where the word's tokens end
  for (std::size_t i = p.N; i-- > 0;) p.order[--p.starts[p.ids[i]]] = static_cast<std::int64_t>(i);
}

void embedding_backward_scalar(const EmbeddingArgs& p) noexcept { run(p); }

std::span<const Impl<EmbeddingFn>> embedding_impls() {
  static constexpr std::array impls{
#if defined(__x86_64__)
      Impl<EmbeddingFn>{"avx512", Isa::avx512, embedding_backward_avx512},
      Impl<EmbeddingFn>{"avx2", Isa::avx2, embedding_backward_avx2},
#endif
      Impl<EmbeddingFn>{"scalar", Isa::any, embedding_backward_scalar},
  };
  return impls;
}

}  // namespace fasttrain::nn
