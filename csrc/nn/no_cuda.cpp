#include "core/cuda.h"
#include "nn/attention.h"
#include "nn/attention_cuda.h"
#include "nn/dropout_cuda.h"
#include "nn/gelu_cuda.h"
#include "nn/linear_cross_entropy_cuda.h"
#include "nn/rms_norm_cuda.h"
#include "nn/rope_cuda.h"
#include "nn/swiglu_cuda.h"

namespace fasttrain::nn {
int attention_cuda(const AttentionCudaArgs&, void*) noexcept { return cuda_absent; }
int attention_mma_forward(const AttentionTensorArgs&, void*) noexcept { return cuda_absent; }
int attention_mma_backward(const AttentionTensorArgs&, void*) noexcept { return cuda_absent; }
int attention_wgmma_forward(const AttentionTensorArgs&, void*) noexcept { return cuda_absent; }
int attention_wgmma_backward(const AttentionTensorArgs&, void*) noexcept { return cuda_absent; }
int dropout_cuda(const DropoutArgs&, void*) noexcept { return cuda_absent; }
int gelu_cuda(const GeluArgs&, void*) noexcept { return cuda_absent; }
int gelu_backward_cuda(const GeluArgs&, void*) noexcept { return cuda_absent; }
int linear_cross_entropy_cuda(const LinearCrossEntropyArgs&, std::size_t, void*) noexcept { return cuda_absent; }
int rms_norm_cuda(const RmsNormArgs&, bool, void*) noexcept { return cuda_absent; }
int rms_norm_backward_cuda(const RmsNormArgs&, bool, void*) noexcept { return cuda_absent; }
int rope_cuda(const RopeArgs&, void*) noexcept { return cuda_absent; }
int swiglu_cuda(const SwigluArgs&, void*) noexcept { return cuda_absent; }
int swiglu_backward_cuda(const SwigluArgs&, std::size_t, void*) noexcept { return cuda_absent; }
}  // namespace fasttrain::nn
