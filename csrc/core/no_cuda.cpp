#include "core/cuda.h"

namespace fasttrain {
bool cuda_built() noexcept { return false; }
}  // namespace fasttrain
