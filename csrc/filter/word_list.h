#pragma once
// How often words of lists occur in texts, those that mean two things judged by the words around them.
//                                                          N texts, L lists, M nodes and E edges of their tries.
//
// A list holds words and phrases of four classes: strong, ambiguous, context, excuse. Matches are whole words (or
// beginnings of words, for open entries), letter case ignored, the longest at a place, from left to right, none inside
// another. Counted for each text:
//   counts[n] = {strong, ambiguous in context, ambiguous without, ambiguous excused}
// An ambiguous match is excused by a match of class excuse that begins at most `window` words from it, else it is in
// context when one of class strong or context does. The rules, one by one: fasttrain/filter/word_list_ref.py
//
// One trie over the UTF-8 bytes of lower-case entries holds all lists, each from its own root. Nearly every place of a
// text ends at a look at what an entry may begin with: hashed sets (Bloom filters with one hash) of the first four
// bytes of ASCII, or the first two characters of another script; entries too short for those have sets of their own.
// The caller allocates and has checked every shape; texts may be any bytes.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::filter {

enum WordClass : std::uint8_t { word_none, word_strong, word_ambiguous, word_context, word_excuse };
inline constexpr std::uint8_t word_open = 8;  // added to the class of an entry that need not end a word

inline constexpr std::size_t word_head_bytes = 4096;           // bit word_head(key)
inline constexpr std::size_t word_pair_bytes = 128 * 128 / 8;  // bit a * 128 + b
inline constexpr std::size_t word_first_bytes = 512;           // bit word_first(c)
inline constexpr int word_window_most = 255;

inline std::uint32_t word_head(std::uint32_t key) noexcept { return (key * 0x9e3779b1u) >> 17; }
inline std::uint32_t word_first(std::uint32_t c) noexcept { return (c * 0x9e3779b1u) >> 20; }
// Of four ASCII bytes, the first lowest; letter case does not matter (nor whether "@" is "`").
inline std::uint32_t word_key_ascii(std::uint32_t bytes) noexcept { return bytes | 0x20202020u; }
inline std::uint32_t word_key_two(std::uint32_t a, std::uint32_t b) noexcept { return a * 0x10001u ^ b << 9; }

struct WordListArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  const std::int32_t* which;    // (N,)    list of each text, -1 for none
  std::int64_t* counts;         // (N, 4)  out
  const std::int32_t* roots;    // (L,)    node of each list that is before the first byte
  const std::uint8_t* heads;    // (L, word_head_bytes)   word_key_ascii of bytes, word_key_two of characters
  const std::uint8_t* pairs;    // (L, word_pair_bytes)   bytes (with bit 5 set) that begin an entry of one or two
  const std::uint8_t* firsts;   // (L, word_first_bytes)  characters, not ASCII, that begin one and no second is known
  const std::int32_t* edges;    // (M+1,)  edges of node m are [edges[m], edges[m+1]), bytes rising
  const std::uint8_t* bytes;    // (E,)
  const std::int32_t* next;     // (E,)    node behind each edge
  const std::uint8_t* kinds;    // (M,)    class of the entry that ends here, with word_open where it is open
  std::size_t N;
  int window;  // words, at most word_window_most
  int threads;
};

using WordListFn = void (*)(const WordListArgs&) noexcept;

void word_list_scalar(const WordListArgs&) noexcept;
void word_list_avx2(const WordListArgs&) noexcept;

std::span<const Impl<WordListFn>> word_list_impls();  // best first

}  // namespace fasttrain::filter
