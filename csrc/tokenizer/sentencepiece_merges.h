#pragma once /* part of sentencepiece_bpe */
// A SentencePiece BPE model's merges as pairs of symbols, where its pieces allow: while some neighbours together are a
// piece, those of the best score, the leftmost of equals, become one symbol.
//
// Symbols are pieces and, as ids from V on, characters that only stand inside longer ones. A pair asks one cache line
// where a search by the bytes of both hashes them. A rank is a score; where several pieces have one (the runs of spaces
// of Mistral's models), which of them a pair makes is found by its bytes. User-defined pieces stand in a text from the
// start and no merge makes one: a stretch with one is not merged here. Unused pieces have rules that pairs do not know.
// A tokenizer.json lists its merges: there the place in the list is the rank, and no score is asked.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/pair_table.h"

namespace fasttrain::tokenizer {

class SentencePieceModel;

class SentencePieceMerges {
 public:
  static constexpr std::size_t max_symbols = 63;  // the merge is quadratic, and has a lane of 64 for "none"

  // The characters of a stretch, ready to merge.
  struct Symbols {
    std::uint32_t ids[max_symbols + 2];    // symbol i is ids[i + 1]; the first and the last are none
    std::uint32_t ranks[max_symbols + 1];  // of symbols i and i + 1; no_rank from n - 1 on
    std::uint16_t starts[max_symbols + 1];
    std::size_t n, bytes;
    const std::uint8_t* at;

    std::size_t start(std::size_t i) const noexcept { return i < n ? starts[i] : bytes; }
  };

  explicit SentencePieceMerges(const SentencePieceModel&);
  static bool applies(const SentencePieceModel&);

  // Ids of a stretch of any length that holds no user-defined piece.
  std::size_t encode_long(const SentencePieceModel& m, const std::uint8_t* at, const std::uint8_t* end,
                          std::uint32_t* out) const;

  // False: of more characters than max_symbols, or it holds a user-defined piece.
  bool prepare(const SentencePieceModel& m, const std::uint8_t* at, const std::uint8_t* end, Symbols& s) const noexcept;
  // Merges what prepare() has given; ids at `out`, returns their number.
  std::size_t merge(const SentencePieceModel& m, Symbols& s, std::uint32_t* out) const noexcept;

  const PairTable& pairs() const noexcept { return pairs_; }
  // The symbol that a merge of this rank makes of symbols i to `next`.
  std::uint32_t merged(const SentencePieceModel& m, std::uint32_t rank, const Symbols& s, std::size_t i,
                       std::size_t next) const noexcept {
    const std::uint32_t id = id_of_rank_[rank];
    return id != several ? id : find(m, s, i, next);
  }
  // Ids of symbol i, which ends where `next` begins.
  std::size_t emit(const SentencePieceModel& m, const Symbols& s, std::size_t i, std::size_t next,
                   std::uint32_t* out) const noexcept;

 private:
  static constexpr std::uint32_t several = 0xFFFFFFFF;
  // Of a character in no piece: in no pair. The last number of 21 bits is not it: twice that is an empty slot's key.
  static constexpr std::uint32_t no_symbol = 0x1FFFFE;
  // Of the characters that most pieces have, a number of 8 bits: what two of them make is one load. The last: none.
  static constexpr std::uint8_t no_number = 255;

  struct Char {
    std::uint32_t symbol;
    std::uint8_t number;
  };
  // The character at `at`; its bytes are added to `at`.
  Char next_character(const std::uint8_t*& at, const std::uint8_t* end) const noexcept;
  Char character(const std::uint8_t* at, std::size_t bytes) const noexcept;
  std::uint32_t find(const SentencePieceModel& m, const Symbols& s, std::size_t i, std::size_t next) const noexcept;
  void add_characters(const SentencePieceModel& m);
  void add_ranks(const SentencePieceModel& m);
  void add_pairs(const SentencePieceModel& m);
  void add_listed(const SentencePieceModel& m);

  std::vector<std::uint32_t> id_of_rank_, rank_of_id_;
  std::vector<std::uint8_t> char_data_;
  ByteTrie chars_;
  std::array<Char, 128> of_byte_{};  // of an ASCII character
  Char space_{};                     // of U+2581
  PairTable pairs_{nullptr, nullptr, 0};
  std::vector<std::uint32_t> first_ranks_;  // (256, 256) of two numbered characters
};

}  // namespace fasttrain::tokenizer
