#pragma once /* part of bpe_encode */
// Ids of long pieces in linear time, without merging: the longest token is taken, then the next, as long as BPE would
// leave each two neighbours apart; where it would not, a shorter one is tried, or the last one is taken back.
//
// Two neighbours are valid when their last merges, undone one after another from the latest on, never lay open a pair
// across their border that would have merged before. A sequence of tokens is what merging gives exactly when all its
// neighbours are valid, and there is one such sequence. Source: Antonov and van Lohuizen, github.com/github/rust-gems.
//
// That speaks of merges that happen: a token that merging its own bytes does not give is never made, and of several
// merges that name one token only the last of its own bytes' merging ever finds its two sides next to each other.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tokenizer/byte_trie.h"

namespace fasttrain::tokenizer {

class PairTable;

class BpeBacktrack {
 public:
  // A token that merging its bytes gives: what its last merge joined, and when (0: it is a byte; else rank + 1).
  struct Token {
    std::uint32_t id, left, right, when;
    const std::uint8_t* data;
    std::uint32_t bytes;
  };
  // All 256 bytes are among the tokens.
  BpeBacktrack(const std::vector<Token>& tokens, std::size_t V);

  struct Scratch {
    std::vector<std::uint64_t> tried;     // a bit a place: no way led on from there
    std::vector<std::uint64_t> answered;  // (left, right, answer) of neighbours asked before, by hash
  };
  // Returns the number of ids. A scratch serves one model only.
  std::size_t encode(const PairTable& table, const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                     Scratch& scratch) const;

 private:
  static constexpr std::uint32_t none = 0xFFFFFFFF;
  struct Made {
    std::uint32_t left, right, when;
    std::uint32_t bytes;
    std::uint32_t shorter;  // the longest token that begins this one; none for a byte
  };
  std::uint32_t longest(const std::uint8_t* p, const std::uint8_t* end) const noexcept;
  bool may_neighbour(const PairTable& table, std::uint32_t left, std::uint32_t right) const noexcept;
  bool ask(const PairTable& table, std::uint32_t left, std::uint32_t right, Scratch& scratch) const noexcept;

  std::vector<Made> made_;  // by id
  // Of the second bytes on; a token's value is its id, its extra its bytes.
  ByteTrie trie_;
  struct First {
    std::uint32_t base, token;
  };
  std::vector<First> of_two_;  // the node of the first two bytes and the longest token there
  std::vector<std::uint32_t> of_one_;
};

}  // namespace fasttrain::tokenizer
