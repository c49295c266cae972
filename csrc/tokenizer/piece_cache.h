#pragma once /* part of bpe_encode */
// What a worker remembers of pieces already encoded: piece -> ids. Bounded by `max_bytes`, whatever the text.

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "tokenizer/huge_array.h"

namespace fasttrain::tokenizer {

// Two entries of 32 bytes a bucket, one cache line. A piece of at most 15 bytes is its own key and up to 3 ids stand in
// the entry; longer pieces are keyed by 120 bits of hash and length, and their bytes, like further ids, lie in `spill`.
class PieceCache {
 public:
  struct Key {
    std::uint64_t lo, hi;  // length in the top byte of hi, never 0
  };
  struct Entry {
    std::uint64_t lo, hi;
    std::uint32_t ids[3];  // not plain: ids[0] is the place in `spill` of the ids, then of a long piece's bytes
    std::uint32_t count : 7;
    std::uint32_t plain : 1;   // a short piece of up to 3 ids; not of an empty entry, which the key of no piece finds
    std::uint32_t tag : 24;    // whatever else the owner knows of the piece
  };
  static constexpr std::size_t short_bytes = 15, short_ids = 3, long_bytes = 255, long_ids = 64;

  // It grows from `first_buckets` on, a power of two, a few at a time (linear hashing: Litwin 1980) and where it is:
  // doubled at once, it moved 16 MB and had 32 cleared in the middle of some text. Where the system will not lend all
  // the addresses at once, it grows less far.
  explicit PieceCache(std::size_t max_bytes, std::size_t first_buckets = 1 << 12);

  static std::uint64_t hash(Key key) noexcept {
    std::uint64_t h = key.lo * 0x9E3779B97F4A7C15ULL ^ key.hi * 0xC2B2AE3D27D4EB4FULL;
    h ^= h >> 32;
    return h * 0xD6E8FEB86659FD93ULL;
  }
  // The key of a piece of 1 to short_bytes bytes: its bytes, zero-padded.
  static Key short_key(const std::uint8_t* piece, std::size_t bytes) noexcept {
    std::uint64_t words[2] = {0, 0};
    std::memcpy(words, piece, bytes);
    return {words[0], words[1] | std::uint64_t{bytes} << 56};
  }
  // short_key by two loads and masks, where 16 bytes can be read; what follows the piece in the buffer is masked away.
  static Key masked_key(const std::uint8_t* piece, std::size_t bytes) noexcept {
    static_assert(std::endian::native == std::endian::little, "words are masked as little-endian ones");
    Key key;
    std::memcpy(&key, piece, 16);
    const std::size_t low = bytes < 8 ? bytes : 8, high = bytes - low;
    key.lo &= ~std::uint64_t{0} >> (64 - 8 * low);
    key.hi &= (std::uint64_t{1} << 8 * high) - 1;
    key.hi |= std::uint64_t{bytes} << 56;
    return key;
  }
  // The key of a piece of 16 to long_bytes bytes. Pieces that share it are told apart by their bytes.
  static Key long_key(const std::uint8_t* piece, std::size_t bytes) noexcept {
    std::uint64_t a = bytes, b = ~std::uint64_t{bytes};
    for (std::size_t i = 0; i + 8 < bytes; i += 8) mix(a, b, piece + i);
    mix(a, b, piece + bytes - 8);
    return {a, (b & (~std::uint64_t{0} >> 8)) | std::uint64_t{bytes} << 56};
  }
  // Where a piece is looked for, asked for ahead. It stays a bucket as the cache grows, but what it holds may move:
  // who does not find a piece there later has to ask by its hash again.
  const Entry* prefetch(std::uint64_t hash) const noexcept {
    const Entry* found = bucket(hash);
    __builtin_prefetch(found);
    return found;
  }
  // Without a branch on which of the two it is: real text takes either one half the time.
  static const Entry* find_in(const Entry* bucket, Key key) noexcept {
    const bool first = bucket[0].lo == key.lo && bucket[0].hi == key.hi;
    const bool second = bucket[1].lo == key.lo && bucket[1].hi == key.hi;
    return (first | second) ? bucket + (first ? 0 : 1) : nullptr;
  }
  const Entry* find(Key key, std::uint64_t hash) const noexcept { return find_in(bucket(hash), key); }
  const std::uint32_t* ids(const Entry& entry) const noexcept {
    return entry.plain ? entry.ids : spill_.data() + entry.ids[0];
  }
  bool holds_long(const Entry& entry, const std::uint8_t* piece, std::size_t bytes) const noexcept {
    return std::memcmp(spill_.data() + entry.ids[0] + entry.count, piece, bytes) == 0;
  }
  // `hash` must be the key's own: the entry is moved by it later.
  void insert(Key key, std::uint64_t hash, const std::uint8_t* piece, std::size_t bytes, const std::uint32_t* ids,
              std::size_t count, std::uint32_t tag = 0);

 private:
  static void mix(std::uint64_t& a, std::uint64_t& b, const std::uint8_t* p) noexcept {
    std::uint64_t v;
    std::memcpy(&v, p, 8);
    a = (a ^ v) * 0x9E3779B97F4A7C15ULL;
    a ^= a >> 29;
    b = (b ^ v) * 0xC2B2AE3D27D4EB4FULL;
    b ^= b >> 31;
  }
  // The upper half of the hash, whose lowest bits depend on every byte of the key.
  std::size_t place(std::uint64_t hash) const noexcept {
    const std::size_t i = hash >> 32 & (2 * half_ - 1);
    return i - (half_ & -std::size_t{i >= buckets_});
  }
  const Entry* bucket(std::uint64_t hash) const noexcept { return entries_.get() + 2 * place(hash); }
  void clear() noexcept;
  void split() noexcept;

  HugeArray<Entry> entries_;  // (max_buckets_, 2); what lies behind buckets_ holds anything, and is not touched
  std::vector<std::uint32_t> spill_;
  std::size_t max_buckets_, max_spill_, buckets_, half_;  // half_: the largest power of two of at most buckets_
  std::size_t num_held_ = 0;
};

}  // namespace fasttrain::tokenizer
