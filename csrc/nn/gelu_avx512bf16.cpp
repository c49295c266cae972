#include "nn/gelu.h"

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
#include "nn/gelu_body.h"

}  // namespace

void gelu_forward_avx512bf16(const GeluArgs& p) noexcept { forward(p); }
void gelu_backward_avx512bf16(const GeluArgs& p) noexcept { backward(p); }

}  // namespace fasttrain::nn
#endif
