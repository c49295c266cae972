#pragma once
// One step of a tokenizer.json's normaliser.                                     N texts of S bytes.
//
//   NFC, NFD, NFKC, NFKD   Unicode normal forms: characters decomposed, marks put in the order of their combining
//                          classes, and in NFC and NFKC characters composed again
//   the other steps        each character becomes a text of its own, whatever stands beside it; most stay
//
// What each character becomes is what Hugging Face tokenizers makes of it (normalize_tables.inc; its forms are of
// Unicode 9.0). A byte that is no UTF-8 goes over, and is to the marks behind it a character like any other.
//
// Bytes with which no character begins that a step may change are found 32 at a time; a form rewrites only the
// stretches that are not in it already. Linear also in runs of marks. Source: Unicode Standard Annex 15.
// Reference: fasttrain/tokenizer/normalize_ref.py.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::tokenizer {

enum class Normalization : std::uint8_t {  // the face knows the names
  nfc,
  nfd,
  nfkc,
  nfkd,
  lowercase,
  strip_accents,
  nmt,
  bert_clean,
  bert_chinese,
  bert_accents,
};
constexpr int num_normalizations = 10;

struct NormalizeArgs {
  const std::uint8_t* data;     // (S',)   the column's whole buffer
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::uint8_t* out;            // (S * growth,)  the texts made, one after another
  std::int64_t* source;         // (S * growth,)  or none. Of each byte of out, the first byte of the character of its
                                //         text before the step that tokenizers says it comes from; -1: none
  std::int64_t* ends;           // (N+1,)  out: text n is out[ends[n], ends[n+1]). ends[N] -1: nothing changes, and
                                //         nothing is written; not where source is asked for
  std::size_t N;
  Normalization step;
  int threads;
};

// The most bytes that a step makes of one.
std::size_t normalize_growth(Normalization);

using NormalizeFn = void (*)(const NormalizeArgs&) noexcept;

void normalize_scalar(const NormalizeArgs&) noexcept;
void normalize_avx2(const NormalizeArgs&) noexcept;

std::span<const Impl<NormalizeFn>> normalize_impls();  // best first

}  // namespace fasttrain::tokenizer
