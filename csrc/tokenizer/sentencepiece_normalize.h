#pragma once
// Texts as a SentencePiece model sees them.                                      N texts of S bytes.
//
//   at each place the longest user-defined symbol stays as it is; else the longest string of the model's map is
//   replaced; else a character goes over, a byte that begins none as U+FFFD. Then spaces: runs become one and those at
//   the ends go (remove_extra_whitespaces), one is put before the text or behind it (add_dummy_prefix), each is U+2581.
//
// The map is a double array of darts-clone over UTF-8, walked as the file has it. Source: sentencepiece's
// normalizer.cc. Reference: fasttrain/tokenizer/sentencepiece_normalize_ref.py, which is also held against sentencepiece itself.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/impl.h"
#include "tokenizer/byte_trie.h"

namespace fasttrain::tokenizer {

struct SentencePieceNormalizerArgs {
  const std::uint32_t* units;   // (U,)   the map's double array; none: nothing is replaced
  const std::uint8_t* strings;  // (R,)   replacements, each ends in a zero byte
  const std::uint8_t* symbol_data;
  const std::int64_t* symbol_offsets;  // (K+1,)  user-defined symbols
  std::size_t U, R, K;
  bool add_dummy_prefix, remove_extra_whitespaces, escape_whitespaces, whitespace_as_suffix;
};

class SentencePieceNormalizer {
 public:
  explicit SentencePieceNormalizer(const SentencePieceNormalizerArgs&);

  // Bytes of a normalised text: at most growth() of one that it is made of, and room_bytes more.
  std::size_t growth() const noexcept { return growth_; }
  static constexpr std::size_t room_bytes = 3;

  // Writes the text [p, end) at `out`; returns its end. nullptr: the map is damaged and gives more than growth() says.
  std::uint8_t* normalize(const std::uint8_t* p, const std::uint8_t* end, std::uint8_t* out) const noexcept;

 private:
  struct Prefix {  // what stands for the first bytes of a text
    const std::uint8_t* data;
    std::size_t size, taken;
  };
  static std::uint32_t offset(std::uint32_t unit) noexcept { return (unit >> 10) << ((unit & 0x200) >> 6); }
  std::uint32_t step(std::uint32_t base, std::uint8_t byte) const noexcept;
  Prefix replacement(std::uint32_t value, std::size_t taken) const noexcept;
  Prefix prefix(const std::uint8_t* p, const std::uint8_t* end) const noexcept;
  std::uint8_t* put_space(std::uint8_t* out) const noexcept;
  bool may_match(const std::uint8_t* p, const std::uint8_t* end) const noexcept {
    if (end - p < 2) return single_[*p];
    const unsigned pair = p[0] << 8 | p[1];
    return pairs_[pair >> 6] >> (pair & 63) & 1;
  }
  void find_growth();
  void find_starts();

  std::vector<std::uint32_t> units_;
  std::vector<std::uint8_t> strings_, symbol_data_;
  ByteTrie symbols_;
  bool adds_prefix_, adds_suffix_, removes_extra_, escapes_;
  std::size_t growth_ = 3;  // U+2581 for a space, U+FFFD for a byte
  // Whether a symbol or a string of the map may begin so: most text has few such places.
  std::array<bool, 256> single_{};
  std::array<std::uint64_t, 1024> pairs_{};
};

struct SentencePieceNormalizeArgs {
  const SentencePieceNormalizer* normalizer;
  const std::uint8_t* data;     // (S',)   the column's whole buffer
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::uint8_t* out;            // (S * growth + N * room_bytes,)  the normalised texts, one after another
  std::int64_t* ends;           // (N+1,)  out: text n is out[ends[n], ends[n+1]); ends[N] -1: the map is damaged
  std::size_t N;
  int threads;
};

using SentencePieceNormalizeFn = void (*)(const SentencePieceNormalizeArgs&) noexcept;

void sentencepiece_normalize_scalar(const SentencePieceNormalizeArgs&) noexcept;

std::span<const Impl<SentencePieceNormalizeFn>> sentencepiece_normalize_impls();  // best first

}  // namespace fasttrain::tokenizer
