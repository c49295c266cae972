#pragma once
// Texts to token ids with BPE-dropout.      N texts, S bytes, T ids.
//
//   ids of a text = its pretokens, each merged as in bpe_encode.h, but at every step each merge that could be made is
//   dropped with probability p, and of those that remain the one of lowest rank, the leftmost of equals, is made; when
//   all are dropped, the piece is done. Whether a merge is dropped is a hash of (seed, number of the text, the byte of
//   the text at which its left symbol begins, number of the step): no state, so the ids depend on nothing else.
//
// p = 0 are the ids of the merges, p = 1 the bytes. A piece that is a token is not emitted whole (as in Hugging Face
// tokenizers), and no cache is asked or filled. Candidates are drawn in the order of merging until one remains, which
// has the same outcome as drawing all and costs 1 / (1 - p) draws a step.
// Hugging Face tokenizers also draw again after a candidate that a merge has overtaken, and so drop fewer: of 1,500
// lines with p = 0.1 they make 15,686 ids, this 17,129, no dropout 13,551.
// Provilkov et al. 2020. Reference: fasttrain/tokenizer/bpe_dropout_ref.py. One implementation: the merging is all.

#include <cstdint>
#include <span>

#include "core/impl.h"
#include "tokenizer/bpe_encode.h"

namespace fasttrain::tokenizer {

struct BpeDropoutArgs : BpeEncodeArgs {
  std::uint64_t seed;
  std::uint64_t threshold;   // dropped: the upper 53 bits of the hash are below it; p = threshold / 2^53
  std::uint64_t first_text;  // number of text 0
  // Of texts that are parts of texts, both nullptr when all are whole:
  const std::uint64_t* numbers;  // (N,)  which text, counted from first_text
  const std::uint64_t* begins;   // (N,)  the byte of it at which the part begins
};

using BpeDropoutFn = void (*)(const BpeDropoutArgs&) noexcept;

void bpe_dropout_scalar(const BpeDropoutArgs&) noexcept;

std::span<const Impl<BpeDropoutFn>> bpe_dropout_impls();  // best first

}  // namespace fasttrain::tokenizer
