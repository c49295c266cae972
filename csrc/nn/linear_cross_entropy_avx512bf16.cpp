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
#include "nn/linear_cross_entropy_loss.h"
#include "nn/linear_cross_entropy_dweight.h"

}  // namespace

void linear_cross_entropy_avx512bf16(const LinearCrossEntropyArgs& p) noexcept { rows(p); }
void accumulate_avx512bf16(const AccumulateArgs& p) noexcept { accumulate(p); }
void join_avx512bf16(const JoinArgs& p) noexcept { join(p); }
void linear_loss_avx512bf16(const LossArgs& p) noexcept { loss(p); }
void linear_dweight_avx512bf16(const DweightArgs& p) noexcept { dweight(p); }

}  // namespace fasttrain::nn
#endif
