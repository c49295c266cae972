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

#define FT_HAS_BF16
#include "nn/attention_rows.h"
#include "nn/vector_avx512.h"
#include "nn/attention_softcap.h"
#include "nn/attention_finite.h"
#include "nn/attention_bf16_body.h"
#include "nn/attention_direct_body.h"
#include "nn/attention_decode_body.h"
#include "nn/attention_forward_body.h"
#include "nn/attention_backward_items.h"
#include "nn/attention_bf16_backward_body.h"

}  // namespace

void attention_forward_avx512bf16(const AttentionArgs& p) noexcept {
  p.bf16 ? forward_as<Bf16>(p) : attention_forward_avx512(p);
}
void attention_backward_avx512bf16(const AttentionArgs& p) noexcept {
  p.bf16 ? backward_as<Bf16>(p) : attention_backward_avx512(p);
}

}  // namespace fasttrain::nn
#endif
