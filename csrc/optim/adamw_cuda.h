#pragma once /* part of adamw */
// AdamW and the sum of squares on the device. Formulas: adamw.h, sum_squares.h; the same bits as the CPU's.
//
// `scale`, when given, is one float on the device that the gradient is multiplied by after c.grad_scale: a clipping
// coefficient need not visit the host. `copy` takes the new parameters in bf16 (to nearest even), and `zero` leaves
// zeros in the gradient, in the same pass. bf16 parameters alone are rounded stochastically (place.h).
// Returns a cudaError_t (0 = launched) or cuda_absent.

#include <cstddef>

#include "optim/adamw.h"

namespace fasttrain::optim {

struct AdamwCudaArgs {
  float* param;        // (N,)  in, out; nullptr: the parameters are bf16, in `copy`
  float* grad;         // (N,)  in; zeros after when `zero`
  float* m;            // (N,)  in, out
  float* v;            // (N,)  in, out
  void* copy;          // (N,)  bf16, out; nullptr: none; in, out where `param` is null
  const float* scale;  // (1,)  nullptr: 1
  std::size_t N;
  AdamwCoefficients c;
  bool zero;
  Place place{};  // of bf16 parameters
};

int adamw_flat_cuda(const AdamwCudaArgs&, void* stream) noexcept;

struct SumSquaresPiece {
  const float* x;     // (N,)
  std::size_t N;
  std::size_t first;  // of its ceil(N / sum_squares_block) blocks in `out`: those of the pieces before it come first
};

// out (blocks of all pieces,) fp64 of K pieces, together: one alone is too short to fill a card.
int sum_squares_cuda(const SumSquaresPiece* pieces, std::size_t K, double* out, void* stream) noexcept;

// out[0] = the root of the sum of P blocks, added in order; out[1] = what gradients of that norm are multiplied by to
// have norm `clip` at most (1 when clip = 0).
int clip_cuda(const double* blocks, float* out, std::size_t P, float clip, void* stream) noexcept;

}  // namespace fasttrain::optim
