#pragma once
// What a Muon step does beside its matrix products, in two passes over flat arrays, in place.          N values.
//
//   momentum: g = grad_scale * grad;  m += (g - m) one_minus_momentum;  grad = m + (g - m) one_minus_momentum (Nesterov)
//   step:     param = param keep - update rate           keep = 1 - lr wd, rate = lr 0.2 sqrt(max(rows, columns))
//
// Between them the matrix that `momentum` leaves in `grad` is made orthogonal (optim/muon.py). The update is fp32 or
// bf16. bf16 parameters alone are rounded stochastically, by the random bits of their place in the whole matrix
// (place.h).
//
// Every implementation does these operations in this order, each rounded once, so all give the same bits, for any number
// of threads and for any cut of a matrix.
// Source: Jordan 2024 (kellerjordan.github.io/posts/muon), arXiv:2502.16982. Reference: fasttrain/optim/muon_ref.py. The
// caller has checked every shape.

#include <cstddef>
#include <span>

#include "core/bf16.h"
#include "core/impl.h"
#include "optim/place.h"

namespace fasttrain::optim {

struct MuonArgs {
  float* grad;  // (N,)  momentum only: in; out: what is to be made orthogonal
  float* m;     // (N,)  momentum only: in, out
  float grad_scale, one_minus_momentum;

  float* param;             // (N,)  step only, as all below: in, out
  Bf16* half;               // (N,)  in, out: the parameters, where `param` is null
  const float* update;      // (N,)
  const Bf16* update_half;  // (N,)  the update, where `update` is null
  float keep, rate;
  Place place;  // of the first parameter, where `param` is null

  std::size_t N;
  int threads;
};

using MuonFn = void (*)(const MuonArgs&) noexcept;

void muon_momentum_scalar(const MuonArgs&) noexcept;
void muon_momentum_avx2(const MuonArgs&) noexcept;
void muon_momentum_avx512(const MuonArgs&) noexcept;
void muon_step_scalar(const MuonArgs&) noexcept;
void muon_step_avx2(const MuonArgs&) noexcept;
void muon_step_avx512(const MuonArgs&) noexcept;

// Value i, with the random bits of stochastic rounding; what the vector implementations do with their tail.
void muon_momentum_one(const MuonArgs&, std::size_t i) noexcept;
void muon_step_one(const MuonArgs&, std::size_t i, std::uint32_t random) noexcept;

std::span<const Impl<MuonFn>> muon_impls();       // of the momentum, best first
std::span<const Impl<MuonFn>> muon_step_impls();  // the same names in the same order

constexpr std::size_t muon_grain = 1 << 15;  // as AdamW's

}  // namespace fasttrain::optim
