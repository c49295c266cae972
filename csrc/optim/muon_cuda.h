#pragma once /* part of muon */
// Muon's step on the device: param = param keep - update rate, with the bits of the CPU's. Formula: muon.h.
// Returns a cudaError_t (0 = launched) or cuda_absent.

#include "optim/muon.h"

namespace fasttrain::optim {

// `p`: as for muon_step_*, with pointers on the device; `threads` is not read.
int muon_step_cuda(const MuonArgs& p, void* stream) noexcept;

}  // namespace fasttrain::optim
