#pragma once
// Hashed word n-grams of texts.            N texts, S shingles in all.
//
//   text -> fold: lower case, NFD without Mn and Cf; a run of digits (Nd) is "0"; P, S, Z, Cc and bad UTF-8 separate
//        -> words; a letter of a script without spaces (Han, Kana, Thai, ...) is a word of its own
//   word  h = 8-byte steps of (h ^ chunk) * k1, h ^ h >> 32, from h = length * k0; at the end * k2, ^ >> 29
//   gram  mix64(sum over j of h[i + j] * base^(n - 1 - j))          (mod 2^64; mix64: MurmurHash3's finaliser)
//
// A text of 1 to n-1 words has one shingle, of all of them; a text without words has none.
// Source: normalisation of FineWeb (datatrove, utils/text.py), with these differences: symbols (S) separate as
// punctuation does, the fraction of a decimal number is a number of its own, Greek final sigma is sigma.
// Reference: fasttrain/text/shingle_ref.py. The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"
#include "text/shingle_words.h"

namespace fasttrain::text {

struct ShingleArgs {
  const std::uint8_t* data;     // (B,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::uint64_t* out;         // (capacity,)  out; capacity = sum over texts of (bytes + 1) / 2; the first S are filled
  std::int64_t* out_offsets;  // (N+1,)  out; text n's shingles are out[out_offsets[n], out_offsets[n+1])
  std::size_t N;
  std::size_t n;  // words in a shingle
  bool sets;      // each text's shingles sorted and without repeats, instead of in the order of the text
  int threads;
};

using ShingleFn = void (*)(const ShingleArgs&) noexcept;

void shingle_scalar(const ShingleArgs&) noexcept;
void shingle_avx2(const ShingleArgs&) noexcept;

std::span<const Impl<ShingleFn>> shingle_impls();  // best first

}  // namespace fasttrain::text
