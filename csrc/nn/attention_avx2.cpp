#include "nn/attention.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/ordered.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/attention_rows.h"
#include "nn/vector_avx2.h"
constexpr int NV = 2;  // 12 accumulators, 2 vectors of B, one broadcast: 15 of 16 registers
#include "nn/attention_softcap.h"
#include "nn/attention_finite.h"
#include "nn/attention_body.h"
#include "nn/attention_direct_body.h"
#include "nn/attention_decode_body.h"
#include "nn/attention_forward_body.h"
#include "nn/attention_backward_items.h"
#include "nn/attention_backward_body.h"

}  // namespace

void attention_forward_avx2(const AttentionArgs& p) noexcept {
  p.bf16 ? forward_as<Bf16>(p) : forward_as<float>(p);
}
void attention_backward_avx2(const AttentionArgs& p) noexcept {
  p.bf16 ? backward_as<Bf16>(p) : backward_as<float>(p);
}

}  // namespace fasttrain::nn
#endif
