#pragma once /* part of bpe_encode */
// Tokens that are looked for in a text before it is cut: special ones and others that were added to a vocabulary.
// Leftmost first, of those the longest (as in Hugging Face tokenizers). 100,000 of them load in milliseconds: a table
// of first two bytes says which lengths begin so, a hash map whether the bytes of that length are one.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fasttrain::tokenizer {

class AddedTokens {
 public:
  struct Match {
    const std::uint8_t* begin;  // the end of the text: there is none
    std::size_t bytes;
    std::uint32_t id;
  };

  // data[offsets[k], offsets[k+1]) has ids[k]; none is empty.
  AddedTokens(const std::uint8_t* data, const std::int64_t* offsets, const std::uint32_t* ids, std::size_t num);

  bool empty() const noexcept { return ids_.empty(); }
  Match find(const std::uint8_t* p, const std::uint8_t* end) const;

 private:
  using Lengths = std::vector<std::size_t>;  // longest first
  const std::uint8_t* candidate(const std::uint8_t* p, const std::uint8_t* end) const noexcept;

  std::vector<char> bytes_;
  std::unordered_map<std::string_view, std::uint32_t> ids_;  // views of bytes_
  std::array<bool, 256> begins_{};
  int only_first_ = -1;  // the first byte of all, when they share it
  std::unordered_map<std::uint32_t, Lengths> lengths_;  // by first two bytes; of one byte: 0x10000 + it
};

}  // namespace fasttrain::tokenizer
