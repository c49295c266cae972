#pragma once
// Suffix array and longest common prefixes of one block of bytes.            n bytes, n < 2^31.
//
//   sa = the permutation of 0..n-1 that sorts the suffixes text[i:];  lcp[0] = 0,
//   lcp[k] = bytes that the suffixes sa[k - 1] and sa[k] have in common
//
// Linear time. Memory besides text, sa and lcp: n / 4 bytes of types and at most 8 n of buckets in the recursion, then
// 4 n of the permuted prefixes.
// Sources: Nong, Zhang, Chan 2009 (SA-IS); Karkkainen, Manzini, Puglisi 2009 (permuted LCP).
// Reference: fasttrain/dedup/suffix_array_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::dedup {

struct SuffixArrayArgs {
  const std::uint8_t* text;  // (n,)
  std::int32_t* sa;          // (n,)  out
  std::int32_t* lcp;         // (n,)  out
  std::size_t n;
};

using SuffixArrayFn = void (*)(const SuffixArrayArgs&) noexcept;

void suffix_array_scalar(const SuffixArrayArgs&) noexcept;

std::span<const Impl<SuffixArrayFn>> suffix_array_impls();  // best first

}  // namespace fasttrain::dedup
