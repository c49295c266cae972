#include "nn/attention.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_avx512.h"
constexpr int NV = 4;  // 24 accumulators, 4 vectors of B, one broadcast: 29 of 32 registers
#include "nn/attention_body.h"

}  // namespace

void attention_forward_avx512(const AttentionArgs& p) noexcept { forward(p); }
void attention_backward_avx512(const AttentionArgs& p) noexcept { backward(p); }

}  // namespace fasttrain::nn
#endif
