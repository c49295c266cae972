#include "nn/rms_norm.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_avx2.h"
#include "nn/rms_norm_body.h"

}  // namespace

void rms_norm_forward_avx2(const RmsNormArgs& p) noexcept { forward(p); }
void rms_norm_backward_avx2(const RmsNormArgs& p) noexcept { backward(p); }

}  // namespace fasttrain::nn
#endif
