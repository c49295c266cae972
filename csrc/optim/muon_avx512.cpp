#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>

#include "core/parallel.h"
#include "core/philox.h"
#include "optim/muon.h"

namespace fasttrain::optim {
namespace {

#include "optim/pass_avx512.h"
#include "optim/stochastic_body.h"
#include "optim/muon_body.h"

}  // namespace

void muon_momentum_avx512(const MuonArgs& p) noexcept { momentum(p); }
void muon_step_avx512(const MuonArgs& p) noexcept { step(p); }

}  // namespace fasttrain::optim
#endif
