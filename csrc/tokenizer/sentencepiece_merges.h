#pragma once /* part of sentencepiece_bpe */
// A SentencePiece BPE model's merges as pairs of symbols, where its pieces allow: while some neighbours together are a
// piece, those of the best score, the leftmost of equals, become one symbol.
//
// Symbols are pieces and, as ids from V on, characters that only stand inside longer ones. A pair asks one cache line
// where a search by the bytes of both hashes them. Scores of normal pieces must differ (those that sentencepiece trains
// do): then one is the rank of its piece. User-defined and unused pieces have rules that pairs do not know.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/cjk_cuts.h"
#include "tokenizer/pair_table.h"

namespace fasttrain::tokenizer {

class SentencePieceModel;

class SentencePieceMerges {
 public:
  static constexpr std::size_t max_symbols = 64;  // the merge is quadratic

  explicit SentencePieceMerges(const SentencePieceModel&);

  // Ids of [at, end) at `out`; nothing: of more characters than max_symbols.
  std::optional<std::size_t> encode(const SentencePieceModel& m, const std::uint8_t* at, const std::uint8_t* end,
                                    std::uint32_t* out) const noexcept;
  static bool applies(const SentencePieceModel&);

 private:
  // Of a character in no piece: in no pair. The last number of 21 bits is not it: twice that is an empty slot's key.
  static constexpr std::uint32_t no_symbol = 0x1FFFFE;

  // The character at `at`: its symbol and how many bytes it has.
  std::uint32_t symbol(const std::uint8_t* at, std::size_t bytes) const noexcept;
  void add_characters(const SentencePieceModel& m);

  std::vector<std::uint32_t> id_of_rank_;
  std::vector<std::uint8_t> char_data_;
  ByteTrie chars_;
  std::array<std::uint32_t, 128> of_byte_{};  // of an ASCII character
  PairTable pairs_{nullptr, nullptr, 0};
};

}  // namespace fasttrain::tokenizer
