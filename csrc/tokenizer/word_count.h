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

// Open-addressed byte string -> count; the bytes of all words lie in one arena.
class WordMap {
 public:
  struct Word {
    std::uint64_t hash;
    std::uint64_t start;  // in the arena
    std::int64_t count;   // 0: an empty slot
    std::uint32_t bytes;
  };

  WordMap() : slots_(1 << 12, Word{}) {}
  void add(const std::uint8_t* word, std::size_t bytes, std::int64_t count) {
    add_hashed(word, bytes, hash(word, bytes), count);
  }
  void merge(const WordMap& other);

  std::size_t size() const noexcept { return num_; }
  std::size_t num_bytes() const noexcept { return arena_.size(); }
  std::vector<Word> sorted() const;  // by their bytes
  const std::uint8_t* bytes_of(const Word& word) const noexcept { return arena_.data() + word.start; }

 private:
  static std::uint64_t hash(const std::uint8_t* word, std::size_t bytes) noexcept;
  void add_hashed(const std::uint8_t* word, std::size_t bytes, std::uint64_t h, std::int64_t count);
  void grow();

  std::vector<Word> slots_;
  std::vector<std::uint8_t> arena_;
  std::size_t num_ = 0;
};

struct WordCountArgs;
using WordCountFn = void (*)(const WordCountArgs&) noexcept;

class WordCounter {
 public:
  explicit WordCounter(int pattern) : pattern_(pattern) {}

  std::unique_ptr<WordMap> take();
  void give_back(std::unique_ptr<WordMap> map);
  WordMap& whole();  // all workers' maps as one
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
