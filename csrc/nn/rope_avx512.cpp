#include "nn/rope.h"

#if defined(__x86_64__)
#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "core/bf16.h"
#include "core/parallel.h"

namespace fasttrain::nn {
namespace {

#include "nn/vector_avx512.h"
#include "nn/rope_body.h"

}  // namespace

void rope_avx512(const RopeArgs& p) noexcept { run(p); }

}  // namespace fasttrain::nn
#endif
