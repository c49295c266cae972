#include "nn/linear_cross_entropy.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#define FT_HAS_BF16
#include "nn/vector_avx512.h"
#include "nn/linear_cross_entropy_body.h"
#include "nn/linear_cross_entropy_sums.h"
#include "nn/linear_cross_entropy_product.h"

}  // namespace

void linear_cross_entropy_avx512bf16(const LinearCrossEntropyArgs& p) noexcept { rows(p); }
void accumulate_avx512bf16(const AccumulateArgs& p) noexcept { accumulate(p); }
void join_avx512bf16(const JoinArgs& p) noexcept { join(p); }
void logits_dweight_avx512bf16(const LogitsProductArgs& p) noexcept { dweight(p); }
void logits_dx_avx512bf16(const LogitsProductArgs& p) noexcept { dx(p); }

}  // namespace fasttrain::nn
#endif
