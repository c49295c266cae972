#include "nn/swiglu.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#define FT_HAS_BF16
#include "nn/vector_avx512.h"
#include "nn/swiglu_body.h"

}  // namespace

void swiglu_forward_avx512bf16(const SwigluArgs& p) noexcept { forward(p); }
void swiglu_backward_avx512bf16(const SwigluArgs& p) noexcept { backward(p); }

}  // namespace fasttrain::nn
#endif
