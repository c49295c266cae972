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

#include "nn/vector_avx512.h"
#include "nn/linear_cross_entropy_body.h"
#include "nn/linear_cross_entropy_sums.h"

}  // namespace

void linear_cross_entropy_avx512(const LinearCrossEntropyArgs& p) noexcept { rows(p); }
void accumulate_avx512(const AccumulateArgs& p) noexcept { accumulate(p); }
void join_avx512(const JoinArgs& p) noexcept { join(p); }

}  // namespace fasttrain::nn
#endif
