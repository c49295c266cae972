#pragma once
// Texts to token ids.            N texts, S bytes, T ids, V vocabulary, M merges.
//
//   ids of a text = its pretokens (pretokenize.h), each merged: while some neighbouring pair has a rank, the pair of
//   lowest rank, the leftmost of equals, becomes one symbol. Added tokens, when asked for, are cut out first.
//
// Merge-list BPE as in Hugging Face tokenizers (Sennrich et al. 2016 over bytes); with ignore_merges a piece that is a
// token is emitted whole (tiktoken). Each worker keeps the ids of pieces that it met: most pieces are one look-up.
// Reference: fasttrain/tokenizer/bpe_encode_ref.py. There is no CUDA file: a piece is a chain of dependent look-ups in
// tables of megabytes, and the text comes from and the ids go to the host's files.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"
#include "tokenizer/bpe_model.h"

namespace fasttrain::tokenizer {

struct BpeEncodeArgs {
  BpeModel* model;
  const std::uint8_t* data;     // (S',)   the column's whole buffer
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::uint32_t* ids;           // (S+N,)  out: the ids, one text after another; S = offsets[N] - offsets[0]
  std::int64_t* ends;           // (N+1,)  out: text n is ids[ends[n], ends[n+1])
  std::size_t N, data_bytes;
  std::int64_t eot;  // appended to each text; -1: nothing is
  bool finds_added;  // the model's added tokens are looked for; else a text is text, whatever it says
  int threads;
};

using BpeEncodeFn = void (*)(const BpeEncodeArgs&) noexcept;

void bpe_encode_scalar(const BpeEncodeArgs&) noexcept;
void bpe_encode_avx2(const BpeEncodeArgs&) noexcept;
void bpe_encode_avx512(const BpeEncodeArgs&) noexcept;

std::span<const Impl<BpeEncodeFn>> bpe_encode_impls();  // best first

// So many pieces are merged together: 8 gave unseen English a fifth, 32 a third.
inline constexpr int most_waiting = 32;

// A piece of at most PieceCache::short_bytes, and its ids.
struct ShortPiece {
  const std::uint8_t* piece;
  std::size_t bytes;
  std::uint32_t ids[16];
  std::uint32_t count;
};

// The part that does not depend on the instruction set: `one(worker, begin, end, out)` encodes text data[begin, end).
using EncodeText = std::size_t (*)(const BpeEncodeArgs&, BpeModel::Worker&, const std::uint8_t*, const std::uint8_t*,
                                   std::uint32_t*);
void encode_texts(const BpeEncodeArgs&, EncodeText one) noexcept;

}  // namespace fasttrain::tokenizer
