#include "tokenizer/word_count.h"

#include <algorithm>
#include <cstring>

#include "core/parallel.h"
#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {

std::uint64_t WordMap::hash(const std::uint8_t* word, std::size_t bytes) noexcept {
  std::uint64_t h = bytes * 0x9E3779B97F4A7C15ULL;
  const auto mix = [&h](std::uint64_t v) {
    h = (h ^ v) * 0xD6E8FEB86659FD93ULL;
    h ^= h >> 32;
  };
  std::size_t i = 0;
  for (; i + 8 <= bytes; i += 8) {
    std::uint64_t v;
    std::memcpy(&v, word + i, 8);
    mix(v);
  }
  if (i < bytes) {
    std::uint64_t v = 0;
    std::memcpy(&v, word + i, bytes - i);
    mix(v);
  }
  return h * 0x9E3779B97F4A7C15ULL;
}

void WordMap::add_hashed(const std::uint8_t* word, std::size_t bytes, std::uint64_t h, std::int64_t count) {
  const std::size_t mask = slots_.size() - 1;
  std::size_t i = (h >> 20) & mask;
  while (slots_[i].count != 0) {
    Word& found = slots_[i];
    if (found.hash == h && found.bytes == bytes && std::memcmp(bytes_of(found), word, bytes) == 0) {
      found.count += count;
      return;
    }
    i = (i + 1) & mask;
  }
  slots_[i] = {h, arena_.size(), count, static_cast<std::uint32_t>(bytes)};
  arena_.insert(arena_.end(), word, word + bytes);
  if (++num_ * 2 > slots_.size()) grow();
}

void WordMap::grow() {
  std::vector<Word> old(slots_.size() * 2, Word{});
  old.swap(slots_);
  const std::size_t mask = slots_.size() - 1;
  for (const Word& word : old) {
    if (word.count == 0) continue;
    std::size_t i = (word.hash >> 20) & mask;
    while (slots_[i].count != 0) i = (i + 1) & mask;
    slots_[i] = word;
  }
}

void WordMap::merge(const WordMap& other) {
  for (const Word& word : other.slots_)
    if (word.count != 0) add_hashed(other.bytes_of(word), word.bytes, word.hash, word.count);
}

std::vector<WordMap::Word> WordMap::sorted() const {
  std::vector<Word> words;
  words.reserve(num_);
  std::copy_if(slots_.begin(), slots_.end(), std::back_inserter(words), [](const Word& w) { return w.count != 0; });
  std::sort(words.begin(), words.end(), [this](const Word& a, const Word& b) {
    const int order = std::memcmp(bytes_of(a), bytes_of(b), std::min(a.bytes, b.bytes));
    return order != 0 ? order < 0 : a.bytes < b.bytes;
  });
  return words;
}

std::unique_ptr<WordMap> WordCounter::take() {
  {
    const std::lock_guard lock(mutex_);
    if (!maps_.empty()) {
      auto map = std::move(maps_.back());
      maps_.pop_back();
      return map;
    }
  }
  return std::make_unique<WordMap>();
}

void WordCounter::give_back(std::unique_ptr<WordMap> map) {
  const std::lock_guard lock(mutex_);
  maps_.push_back(std::move(map));
}

WordMap& WordCounter::whole() {
  if (maps_.empty()) maps_.push_back(std::make_unique<WordMap>());
  while (maps_.size() > 1) {
    maps_.front()->merge(*maps_.back());
    maps_.pop_back();
  }
  return *maps_.front();
}

void count_words_scalar(const WordCountArgs& a) noexcept {
  const UnicodeClasses& u = unicode_classes();
  const Pattern pattern = Pattern::number(a.counter->pattern());
  parallel_ranges(a.N, 16, a.threads, [&](std::size_t begin, std::size_t stop) {
    auto map = a.counter->take();
    for (std::size_t n = begin; n < stop; ++n) {
      const std::uint8_t *p = a.data + a.offsets[n], *end = a.data + a.offsets[n + 1];
      while (p < end) {
        const std::uint8_t* q = scalar::next_piece(u, pattern, p, end);
        map->add(p, static_cast<std::size_t>(q - p), 1);
        p = q;
      }
    }
    a.counter->give_back(std::move(map));
  });
}

}  // namespace fasttrain::tokenizer
