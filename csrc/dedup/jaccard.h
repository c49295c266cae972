#pragma once
// Exact overlap of pairs of sets.            P pairs of a set of A and a set of B.
//
//   common[p] = |A[i] and B[j]|  for pairs[p] = (i, j); sets sorted, without repeats
//
// Reference: fasttrain/dedup/jaccard_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::dedup {

struct JaccardArgs {
  const std::uint64_t* a;         // (Sa,)
  const std::int64_t* a_offsets;  // (Na+1,)
  const std::uint64_t* b;         // (Sb,)
  const std::int64_t* b_offsets;  // (Nb+1,)
  const std::int64_t* pairs;      // (P, 2)
  std::int64_t* common;           // (P,)  out
  std::size_t P;
  int threads;
};

using JaccardFn = void (*)(const JaccardArgs&) noexcept;

void jaccard_scalar(const JaccardArgs&) noexcept;

std::span<const Impl<JaccardFn>> jaccard_impls();  // best first

}  // namespace fasttrain::dedup
