#pragma once /* part of bpe_train */
// Unique pretokens and how often each occurs. Memory follows the unique pretokens (of each worker), never the text.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "core/impl.h"

namespace fasttrain::tokenizer {

// Open-addressed byte string -> count. A word of at most 15 bytes lies in its slot, so that most look-ups touch one
// cache line and compare two integers; the others lie in one arena.
class WordMap {
 public:
  WordMap() : slots_(1 << 12, Slot{}) {}
  void add(const std::uint8_t* word, std::size_t bytes, std::int64_t count) {
    if (bytes <= inline_bytes)
      add_short(load(word, bytes), count);
    else
      add_long(word, bytes, count);
  }
  // Add the other map's words `weight` times.
  void merge(const WordMap& other, std::int64_t weight = 1);

  std::size_t size() const noexcept { return num_; }
  std::size_t num_bytes() const noexcept { return num_bytes_; }
  // Write all words in the order of their bytes: data (num_bytes,), offsets (size + 1,), counts (size,).
  void write_sorted(std::uint8_t* data, std::int64_t* offsets, std::int64_t* counts) const;

 private:
  struct Key {
    std::uint64_t low, high;  // short: the bytes, and their number in the last one; long: hash, 255 and place in arena_
    bool operator==(const Key&) const = default;
  };
  struct Slot {
    Key key;
    std::int64_t count;  // key.high is 0 where the slot is empty
  };
  static constexpr std::size_t inline_bytes = 15;
  static constexpr std::uint64_t long_mark = std::uint64_t{255} << 56;

  static Key load(const std::uint8_t* word, std::size_t bytes) noexcept;
  static std::uint64_t hash(const Key& key) noexcept {
    if (key.high >= long_mark) return key.low;
    const auto product = static_cast<unsigned __int128>(key.low ^ 0x9E3779B97F4A7C15ULL) *
                         (key.high ^ 0xD6E8FEB86659FD93ULL);
    return (static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64)) * 0x9E3779B97F4A7C15ULL;
  }
  static std::uint64_t hash_long(const std::uint8_t* word, std::size_t bytes) noexcept;

  // The high half of a product: any number of slots will do, so the table grows by half and not to the double.
  std::size_t slot_of(std::uint64_t h) const noexcept {
    return static_cast<std::size_t>((static_cast<unsigned __int128>(h) * slots_.size()) >> 64);
  }
  std::size_t next(std::size_t i) const noexcept { return i + 1 == slots_.size() ? 0 : i + 1; }
  void add_short(const Key& key, std::int64_t count) {
    std::size_t i = slot_of(hash(key));
    while (slots_[i].key.high != 0) {
      if (slots_[i].key == key) {
        slots_[i].count += count;
        return;
      }
      i = next(i);
    }
    put(i, key, count, static_cast<std::size_t>(key.high >> 56));
  }
  void add_long(const std::uint8_t* word, std::size_t bytes, std::int64_t count);
  void put(std::size_t i, const Key& key, std::int64_t count, std::size_t bytes) {
    slots_[i] = {key, count};
    num_bytes_ += bytes;
    if (++num_ * 4 > slots_.size() * 3) grow();
  }
  void grow();
  std::span<const std::uint8_t> bytes_of(const Key& key) const noexcept;

  std::vector<Slot> slots_;
  std::vector<std::uint8_t> arena_;  // long words: 4 bytes of length, then the bytes
  std::size_t num_ = 0, num_bytes_ = 0;
};

struct WordCountArgs;
using WordCountFn = void (*)(const WordCountArgs&) noexcept;

class WordCounter {
 public:
  explicit WordCounter(int pattern) : pattern_(pattern) {}

  std::unique_ptr<WordMap> take();
  void give_back(std::unique_ptr<WordMap> map);
  WordMap& whole();  // all workers' maps as one
  bool exceeds(std::size_t num_words);
  int pattern() const noexcept { return pattern_; }

 private:
  int pattern_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<WordMap>> maps_;
};

struct WordCountArgs {
  WordCounter* counter;
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)
  std::size_t N;
  int threads;
};

void count_words_scalar(const WordCountArgs&) noexcept;
void count_words_avx2(const WordCountArgs&) noexcept;

}  // namespace fasttrain::tokenizer
