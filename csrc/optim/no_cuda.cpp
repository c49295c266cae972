#include "core/cuda.h"
#include "optim/adamw_cuda.h"
#include "optim/muon_cuda.h"

namespace fasttrain::optim {
int adamw_flat_cuda(const AdamwCudaArgs&, void*) noexcept { return cuda_absent; }
int muon_step_cuda(const MuonArgs&, void*) noexcept { return cuda_absent; }
int sum_squares_cuda(const SumSquaresPiece*, std::size_t, double*, void*) noexcept { return cuda_absent; }
int clip_cuda(const double*, float*, std::size_t, float, void*) noexcept { return cuda_absent; }
}  // namespace fasttrain::optim
