#pragma once
// Which n-grams of texts lie in an index.            N texts, D of them asked, K indexed n-grams, M hits in all.
//
//   n-gram of a text: n consecutive normalised words, hashed as text/shingle.h does; shorter texts have none
//   hit: (text, number of its first word, place of the n-gram in `keys`), in order
//
// `filter` has two bits of one word for each key: with 16 bits or more a key, one n-gram in a hundred that is none goes
// on to the search in `keys` (with one bit, one in twenty did, and the search took a third of the scan). Called twice: with `words == nullptr` it only counts; then it fills, for the texts that have hits.
// Reference: fasttrain/decontam/ngram_overlap_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::decontam {

struct NgramOverlapArgs {
  const std::uint8_t* data;     // (B,)
  const std::int64_t* offsets;  // (N+1,)  text t is data[offsets[t], offsets[t+1])
  const std::int64_t* texts;    // (D,)    the texts that are asked
  const std::uint64_t* keys;    // (K,)    hashed n-grams, rising, no two alike
  const std::uint64_t* filter;  // (F,)    F a power of two: word (h / 64) mod F has bits h mod 64 and h / 2^58 for every key h
  std::int64_t* counts;         // (D,)    out when counting: hits of each asked text
  const std::int64_t* starts;   // (D+1,)  when filling: hits of asked text d go to [starts[d], starts[d+1])
  std::int64_t* words;          // (M,)    out when filling: number of the n-gram's first word in its text
  std::int64_t* grams;          // (M,)    out when filling: place in `keys`
  std::size_t D;
  std::size_t K;
  std::size_t F;
  std::size_t n;
  int threads;
};

using NgramOverlapFn = void (*)(const NgramOverlapArgs&) noexcept;

void ngram_overlap_scalar(const NgramOverlapArgs&) noexcept;
void ngram_overlap_avx2(const NgramOverlapArgs&) noexcept;

std::span<const Impl<NgramOverlapFn>> ngram_overlap_impls();  // best first

}  // namespace fasttrain::decontam
