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
#include <cstring>
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

  // A text on its way: [p, end) is still to be written at `out`.
  struct Progress {
    const std::uint8_t *p, *end;
    std::uint8_t *out, *start;
    bool drops_space;  // the last one written is a space, or nothing is
  };
  // Leaves out the spaces that go and writes the one that is added; false: nothing is left and nothing written.
  bool begin(Progress& at) const noexcept;
  // Takes a space, a string that is replaced or a character. False: the map is damaged and gives more than growth() says.
  bool step(Progress& at) const noexcept;
  // step() of a space that begins nothing that is replaced. Four bytes are written, and room there must be.
  void take_space(Progress& at) const noexcept {
    std::memcpy(at.out, space_.data(), 4);
    at.out += at.drops_space ? 0 : space_bytes_;
    at.drops_space = removes_extra_;
    ++at.p;
  }
  // The rest of a text, and its end. nullptr as step().
  std::uint8_t* finish(Progress& at) const noexcept;

  // Which places of a text that is UTF-8 may_match() must be asked of.
  struct Starts {
    static constexpr int max_bytes = 4;
    std::uint8_t bytes[max_bytes];  // printable ASCII that a string of two such may begin with; filled with the last one
    bool has_bytes, asks_all;       // asks_all: there are more
    bool has_others;                // of other bytes and of pairs with one
  };
  const Starts& starts() const noexcept { return starts_; }
  bool may_match(const std::uint8_t* p, const std::uint8_t* end) const noexcept {
    if (end - p < 2) return single_[*p];
    const unsigned pair = p[0] << 8 | p[1];
    return pairs_[pair >> 6] >> (pair & 63) & 1;
  }

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
  void find_growth();
  void find_pairs();
  void find_starts();

  std::vector<std::uint32_t> units_;
  std::vector<std::uint8_t> strings_, symbol_data_;
  ByteTrie symbols_;
  bool adds_prefix_, adds_suffix_, removes_extra_;
  std::array<std::uint8_t, 4> space_;  // U+2581 or a space
  std::size_t space_bytes_;
  std::size_t growth_ = 3;  // U+2581 for a space, U+FFFD for a byte
  // Whether a symbol or a string of the map may begin so: most text has few such places.
  std::array<bool, 256> single_{};
  std::array<std::uint64_t, 1024> pairs_{};
  Starts starts_{};
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

// A text [p, end) at `out`; returns its end. nullptr: the map is damaged.
using NormalizeText = std::uint8_t* (*)(const SentencePieceNormalizer&, const std::uint8_t* p, const std::uint8_t* end,
                                        std::uint8_t* out) noexcept;
void normalize_texts(const SentencePieceNormalizeArgs&, NormalizeText one) noexcept;

using SentencePieceNormalizeFn = void (*)(const SentencePieceNormalizeArgs&) noexcept;

void sentencepiece_normalize_scalar(const SentencePieceNormalizeArgs&) noexcept;
#if defined(__x86_64__)
void sentencepiece_normalize_avx2(const SentencePieceNormalizeArgs&) noexcept;
void sentencepiece_normalize_avx512(const SentencePieceNormalizeArgs&) noexcept;
#endif

std::span<const Impl<SentencePieceNormalizeFn>> sentencepiece_normalize_impls();  // best first

}  // namespace fasttrain::tokenizer
