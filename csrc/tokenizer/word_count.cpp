#include "tokenizer/word_count.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/parallel.h"
#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {

WordMap::Key WordMap::load(const std::uint8_t* word, std::size_t bytes) noexcept {
  const auto word_at = [word]<typename T>(T v, std::size_t at) {
    std::memcpy(&v, word + at, sizeof(T));
    return static_cast<std::uint64_t>(v);
  };
  const std::uint64_t length = std::uint64_t{bytes} << 56;
  if (bytes > 8) return {word_at(std::uint64_t{}, 0), word_at(std::uint64_t{}, bytes - 8) >> 8 * (16 - bytes) | length};
  if (bytes == 8) return {word_at(std::uint64_t{}, 0), length};
  if (bytes >= 4) return {word_at(std::uint32_t{}, 0) | word_at(std::uint32_t{}, bytes - 4) << 8 * (bytes - 4), length};
  std::uint64_t low = word[0];
  if (bytes > 1) low |= std::uint64_t{word[1]} << 8;
  if (bytes > 2) low |= std::uint64_t{word[2]} << 16;
  return {low, length};
}

std::uint64_t WordMap::hash_long(const std::uint8_t* word, std::size_t bytes) noexcept {
  std::uint64_t h = bytes * 0x9E3779B97F4A7C15ULL;
  const auto mix = [&h](const std::uint8_t* at) {
    std::uint64_t v;
    std::memcpy(&v, at, 8);
    h = (h ^ v) * 0xD6E8FEB86659FD93ULL;
    h ^= h >> 32;
  };
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) mix(word + i);
  mix(word + bytes - 8);
  return h * 0x9E3779B97F4A7C15ULL;
}

std::span<const std::uint8_t> WordMap::bytes_of(const Key& key) const noexcept {
  if (key.high < long_mark) {
    static_assert(std::endian::native == std::endian::little);
    return {reinterpret_cast<const std::uint8_t*>(&key), static_cast<std::size_t>(key.high >> 56)};
  }
  const std::uint8_t* at = arena_.data() + (key.high & ~long_mark);
  std::uint32_t bytes;
  std::memcpy(&bytes, at, 4);
  return {at + 4, bytes};
}

void WordMap::add_long(const std::uint8_t* word, std::size_t bytes, std::int64_t count) {
  const std::uint64_t h = hash_long(word, bytes);
  std::size_t i = slot_of(h);
  while (slots_[i].key.high != 0) {
    if (Slot& slot = slots_[i]; slot.key.low == h && slot.key.high >= long_mark) {
      const auto found = bytes_of(slot.key);
      if (found.size() == bytes && std::memcmp(found.data(), word, bytes) == 0) {
        slot.count += count;
        return;
      }
    }
    i = next(i);
  }
  const Key key{h, long_mark | arena_.size()};
  const auto length = static_cast<std::uint32_t>(bytes);
  const auto* prefix = reinterpret_cast<const std::uint8_t*>(&length);
  arena_.insert(arena_.end(), prefix, prefix + 4);
  arena_.insert(arena_.end(), word, word + bytes);
  put(i, key, count, bytes);
}

void WordMap::grow() {
  std::vector<Slot> old(slots_.size() + slots_.size() / 2, Slot{});
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.key.high == 0) continue;
    std::size_t i = slot_of(hash(slot.key));
    while (slots_[i].key.high != 0) i = next(i);
    slots_[i] = slot;
  }
}

void WordMap::merge(const WordMap& other, std::int64_t weight) {
  for (const Slot& slot : other.slots_) {
    if (slot.key.high == 0) continue;
    const auto bytes = other.bytes_of(slot.key);
    add(bytes.data(), bytes.size(), slot.count * weight);
  }
}

void WordMap::write_sorted(std::uint8_t* data, std::int64_t* offsets, std::int64_t* counts) const {
  struct Entry {
    std::uint64_t first;  // 8 bytes, big-endian: decides nearly every comparison without a look elsewhere
    const Slot* slot;
  };
  std::vector<Entry> words;
  words.reserve(num_);
  for (const Slot& slot : slots_) {
    if (slot.key.high == 0) continue;
    std::uint64_t first = 0;
    const auto bytes = bytes_of(slot.key);
    std::memcpy(&first, bytes.data(), std::min<std::size_t>(bytes.size(), 8));
    words.push_back({__builtin_bswap64(first), &slot});
  }
  std::sort(words.begin(), words.end(), [this](const Entry& a, const Entry& b) {
    if (a.first != b.first) return a.first < b.first;
    return std::ranges::lexicographical_compare(bytes_of(a.slot->key), bytes_of(b.slot->key));
  });
  std::int64_t at = 0;
  offsets[0] = 0;
  for (std::size_t w = 0; w < words.size(); ++w) {
    const auto bytes = bytes_of(words[w].slot->key);
    std::copy(bytes.begin(), bytes.end(), data + at);
    at += static_cast<std::int64_t>(bytes.size());
    offsets[w + 1] = at;
    counts[w] = words[w].slot->count;
  }
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

// The maps are only joined when their sizes say that it might be so.
bool WordCounter::exceeds(std::size_t num_words) {
  std::size_t most = 0;
  for (const auto& map : maps_) most += map->size();
  return most > num_words && whole().size() > num_words;
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
