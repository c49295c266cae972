#pragma once
// Learn BPE merges from counted words.            W words, S symbols in all, K initial tokens, M merges.
//
//   while the vocabulary is too small: the pair with the highest count, of equals the one with the smallest
//   (left id, right id), becomes a token; in every word its occurrences merge from left to right
//
// With `reuses_ids` the vocabulary equals that of Hugging Face tokenizers' BpeTrainer on the same words, initial tokens
// and order of ids, its book-keeping included: a merge whose bytes are a token already gives that token's id and no new
// one; a merged pair keeps the count that its overlaps leave. Without, every merge gives a new id: rustbpe's rule.
// Counts are 64-bit. The result does not depend on the words' order.
// Source: Sennrich et al. 2016. Reference: fasttrain/tokenizer/bpe_train_ref.py. There is no CUDA file: each merge
// depends on the one before it, and touches some hundreds of words scattered in memory.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"
#include "tokenizer/word_count.h"

namespace fasttrain::tokenizer {

struct BpeTrainArgs {
  std::uint32_t* symbols;             // (S,)  ids of all words' symbols; overwritten
  const std::int64_t* word_offsets;   // (W+1,)
  const std::int64_t* word_counts;    // (W,)
  const std::uint8_t* token_data;     // bytes of the initial tokens; an empty one is never formed by a merge
  const std::int64_t* token_offsets;  // (K+1,)
  std::uint32_t* pairs;               // (capacity, 2)  out: merges in the order of learning
  std::uint32_t* ids;                 // (capacity,)    out: what each gives; new ids go on from K
  const std::uint32_t* given;         // (G, 3)  left, right, result: merges of every word before learning, in order
  const std::uint32_t* token_sizes;   // (K,)  what `max_size` bounds: sizes of parts add up; null: no bound
  std::size_t W, K, G, vocab_size, capacity;
  std::int64_t min_frequency;
  bool reuses_ids;
  std::uint32_t max_size;  // a pair of tokens that are larger together does not merge
};

// Returns the number of merges, or -1 when there are more than `capacity`.
using BpeTrainFn = std::int64_t (*)(const BpeTrainArgs&) noexcept;

std::int64_t bpe_train_scalar(const BpeTrainArgs&) noexcept;

// The instruction sets differ in the counting of words; learning is one algorithm for all.
struct BpeTrainImpl {
  WordCountFn count;
  BpeTrainFn train;
};
std::span<const Impl<BpeTrainImpl>> bpe_train_impls();  // best first

}  // namespace fasttrain::tokenizer
