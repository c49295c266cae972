#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>

#include "core/parallel.h"
#include "core/philox.h"
#include "optim/adamw.h"

namespace fasttrain::optim {
namespace {

#include "optim/pass_avx512.h"
#include "optim/stochastic_body.h"
#include "optim/adamw_body.h"

}  // namespace

void adamw_avx512(const AdamwArgs& p) noexcept { run(p); }

}  // namespace fasttrain::optim
#endif
