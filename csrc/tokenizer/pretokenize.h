#pragma once
// Cut texts into pretokens.            N texts, S bytes.
//
//   text n = its pieces, one after another; each piece is the first alternative of the pattern that matches there
//
// A hand-written scanner for each known pattern: cl100k, llama3, qwen2, gpt2, o200k, tekken, deepseek_v3, and the
// superwords of the first three (expressions: fasttrain/tokenizer/patterns.py; Radford et al. 2019, OpenAI tiktoken).
// With wide compares 64 bytes are cut at a time (scan_window.inc). A byte that starts no valid UTF-8 is a symbol of its own. Reference: fasttrain/tokenizer/
// pretokenize_ref.py. There is no CUDA file: the scan is a chain of short dependent steps per text, and its input and
// output both live on the host.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"
#include "tokenizer/scan.h"

namespace fasttrain::tokenizer {

struct PretokenizeArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::int64_t* ends;    // (S,)    out: text n's piece ends, in its own bytes, from ends[offsets[n] - offsets[0]]
  std::int64_t* counts;  // (N,)    out: pieces of text n
  std::size_t N;
  int pattern;  // Pattern::number
  int threads;
};

// The ends of one text's pieces, counted from its begin; returns their number.
using CutTextFn = std::int64_t (*)(const UnicodeClasses&, const Pattern&, const std::uint8_t* start,
                                   const std::uint8_t* end, std::int64_t* out) noexcept;

void pretokenize_texts(const PretokenizeArgs&, CutTextFn) noexcept;  // with `cut` for each text

using PretokenizeFn = void (*)(const PretokenizeArgs&) noexcept;

void pretokenize_scalar(const PretokenizeArgs&) noexcept;
void pretokenize_avx2(const PretokenizeArgs&) noexcept;
void pretokenize_avx512(const PretokenizeArgs&) noexcept;

std::span<const Impl<PretokenizeFn>> pretokenize_impls();  // best first

}  // namespace fasttrain::tokenizer
