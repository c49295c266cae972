#include "nn/attention.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_avx2.h"
constexpr int NV = 2;  // 12 accumulators, 2 vectors of B, one broadcast: 15 of 16 registers
#include "nn/attention_body.h"

}  // namespace

void attention_forward_avx2(const AttentionArgs& p) noexcept { forward(p); }
void attention_backward_avx2(const AttentionArgs& p) noexcept { backward(p); }

}  // namespace fasttrain::nn
#endif
