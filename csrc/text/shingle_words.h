#pragma once /* part of shingle */
// Normalised words of a text, a window at a time: what MinHash, shingle sets and n-gram overlap read.
//
// A text is taken in windows of about 16 KB that are cut behind an ASCII byte which is neither letter nor digit (a cut
// there changes nothing), so that the scratch stays in the cache and a 200 MB text needs no 600 MB of it. The words of
// a window lie in `bytes`, one after another with spaces between; word w is bytes[start[w], start[w] + length[w]).

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fasttrain::text {

struct Words {
  std::vector<std::uint8_t> bytes;    // folded bytes, spaces between words; 64 more than are used
  std::vector<std::uint32_t> bounds;  // start and end of each word in turn
  std::vector<std::uint64_t> hash;    // (count,)
  std::size_t count = 0;

  std::uint32_t start(std::size_t w) const noexcept { return bounds[2 * w]; }
  std::uint32_t length(std::size_t w) const noexcept { return bounds[2 * w + 1] - bounds[2 * w]; }

  void clear() noexcept { count = 0; }
  // Forget all but the last `keep` words: n-grams go on across a cut.
  void keep_last(std::size_t keep) noexcept;
};

// Append the words of one window.
using WordsFn = void (*)(const std::uint8_t* text, std::size_t bytes, Words& words) noexcept;
void words_scalar(const std::uint8_t* text, std::size_t bytes, Words& words) noexcept;
void words_avx2(const std::uint8_t* text, std::size_t bytes, Words& words) noexcept;

// Fold [p, end) byte by byte, writing to `out`; `digit` says whether the byte written last is a folded digit run.
// Returns the end of what was written; *next is where reading stopped (>= stop, and never inside a code point).
std::uint8_t* fold_slowly(const std::uint8_t* p, const std::uint8_t* stop, const std::uint8_t* end, std::uint8_t* out,
                          bool& digit, const std::uint8_t** next) noexcept;
void reserve(Words& words, std::size_t used, std::size_t more) noexcept;

// End of the window that begins at `begin`.
std::size_t window_end(const std::uint8_t* text, std::size_t begin, std::size_t bytes) noexcept;

// What a code point is to the words of a text: part of one, one by itself, between two, or nothing at all.
enum class Role : std::uint8_t { inside, alone, apart, nothing };

// The role of the code point at `p`, of which `left` bytes are there; *taken is its bytes. What is not UTF-8 is one byte
// apart.
Role role_of(const std::uint8_t* p, std::size_t left, std::size_t* taken) noexcept;

// The hash of one word; `word` may be read 7 bytes past its end.
std::uint64_t word_hash(const std::uint8_t* word, std::size_t bytes) noexcept;

constexpr std::uint64_t ngram_base =
    0xd6e8feb86659fd93ULL;  // 3 mod 4, so that base - 1 loses one bit of order, not more

inline std::uint64_t mix64(std::uint64_t k) noexcept {  // MurmurHash3's finaliser
  k ^= k >> 33;
  k *= 0xff51afd7ed558ccdULL;
  k ^= k >> 33;
  k *= 0xc4ceb9fe1a85ec53ULL;
  return k ^ (k >> 33);
}

inline std::uint64_t ngram_power(std::size_t n) noexcept {  // base^n
  std::uint64_t power = 1;
  for (std::size_t i = 0; i < n; ++i) power *= ngram_base;
  return power;
}

// emit(i, hash) for the n-gram that begins at word i, for every i that has n words; in order.
template <typename Emit>
void roll(const std::uint64_t* word, std::size_t count, std::size_t n, const Emit& emit) noexcept {
  if (count < n) return;
  std::uint64_t sum = 0;
  for (std::size_t j = 0; j + 1 < n; ++j) sum = sum * ngram_base + word[j];
  const std::uint64_t drop = ngram_power(n);  // the word that leaves, after this step's multiplication
  std::uint64_t leaving = 0;
  for (std::size_t i = 0; i + n <= count; ++i) {
    sum = sum * ngram_base + word[i + n - 1] - leaving * drop;
    emit(i, mix64(sum));
    leaving = word[i];
  }
}

// The n-grams of a whole text: emit_many(hashes, k) with the next k, in order. Returns the number of words.
template <typename EmitMany>
std::size_t for_each_ngram(WordsFn split, const std::uint8_t* text, std::size_t bytes, std::size_t n, Words& words,
                           std::vector<std::uint64_t>& grams, const EmitMany& emit_many) noexcept {
  words.clear();
  std::size_t total = 0;
  for (std::size_t begin = 0; begin < bytes;) {
    const std::size_t end = window_end(text, begin, bytes);
    const std::size_t before = words.count;
    split(text + begin, end - begin, words);
    total += words.count - before;
    begin = end;
    if (words.count >= n) {
      if (grams.size() < words.count) grams.resize(words.count);
      std::uint64_t* out = grams.data();
      roll(words.hash.data(), words.count, n, [out](std::size_t i, std::uint64_t h) { out[i] = h; });
      emit_many(static_cast<const std::uint64_t*>(out), words.count - n + 1);
      words.keep_last(n - 1);
    }
  }
  if (total > 0 && total < n) {  // shorter than n words: all of them are one shingle
    std::uint64_t h = 0;
    roll(words.hash.data(), total, total, [&h](std::size_t, std::uint64_t all) { h = all; });
    emit_many(static_cast<const std::uint64_t*>(&h), 1);
  }
  return total;
}

}  // namespace fasttrain::text
