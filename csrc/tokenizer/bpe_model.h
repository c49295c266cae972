#pragma once /* part of bpe_encode */
// A byte-level BPE vocabulary made ready for encoding: pair -> rank, and each worker's cache of pieces already encoded.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace fasttrain::tokenizer {

inline constexpr std::uint32_t no_rank = 0xFFFFFFFF;

// Open-addressed pair -> rank in 8-byte slots: left id 21 bits, right id 21, rank 22. At most half full.
class PairTable {
 public:
  PairTable(const std::uint32_t* pairs, const std::uint32_t* ranks, std::size_t num);

  std::uint32_t rank(std::uint32_t left, std::uint32_t right) const noexcept {
    const std::uint64_t key = std::uint64_t{left} << 21 | right;
    for (std::size_t i = slot(key);; i = (i + 1) & mask_) {
      const std::uint64_t found = slots_[i];
      if (found >> 22 == key) return static_cast<std::uint32_t>(found & 0x3FFFFF);
      if (found == empty) return no_rank;
    }
  }

 private:
  static constexpr std::uint64_t empty = ~std::uint64_t{0};
  std::size_t slot(std::uint64_t key) const noexcept { return (key * 0x9E3779B97F4A7C15ULL) >> shift_; }

  std::vector<std::uint64_t> slots_;
  std::size_t mask_;
  int shift_;
};

// Ids of pieces of at most 15 bytes and 3 tokens. Two entries a bucket, one cache line; grows by doubling up to
// `max_buckets` (16 MiB) and forgets the older of two entries then, so memory is bounded whatever the text.
class PieceCache {
 public:
  struct Key {
    std::uint64_t lo, hi;  // the bytes, zero-padded; length in the top byte of hi, never 0
  };
  struct Entry {
    std::uint64_t lo, hi;
    std::uint32_t ids[3];
    std::uint32_t count;
  };
  static constexpr std::size_t max_bytes = 15, max_ids = 3;

  PieceCache();
  static std::uint64_t hash(Key key) noexcept {
    std::uint64_t h = key.lo * 0x9E3779B97F4A7C15ULL ^ key.hi * 0xC2B2AE3D27D4EB4FULL;
    h ^= h >> 32;
    return h * 0xD6E8FEB86659FD93ULL;
  }
  void prefetch(std::uint64_t hash) const noexcept { __builtin_prefetch(entries_.data() + 2 * (hash >> shift_)); }
  const Entry* find(Key key, std::uint64_t hash) const noexcept {
    const Entry* bucket = entries_.data() + 2 * (hash >> shift_);
    if (bucket[0].lo == key.lo && bucket[0].hi == key.hi) return bucket;
    if (bucket[1].lo == key.lo && bucket[1].hi == key.hi) return bucket + 1;
    return nullptr;
  }
  void insert(Key key, const std::uint32_t* ids, std::size_t count);

 private:
  static constexpr std::size_t max_buckets = std::size_t{1} << 18;
  void place(const Entry& entry) noexcept;

  std::vector<Entry> entries_;
  std::size_t num_inserted_ = 0;
  int shift_;
};

// Ids of longer pieces (indentation, identifiers, words in scripts of two and three bytes), one place each by hash: the
// newer takes it. 1 MiB, allocated when a worker first needs it.
class LongPieceCache {
 public:
  static constexpr std::size_t max_bytes = 62, max_ids = 16;
  struct Entry {
    std::uint8_t length;  // 0: empty
    std::uint8_t count;
    std::uint8_t bytes[max_bytes];
    std::uint32_t ids[max_ids];
  };

  // The place of a piece of 16 to max_bytes bytes: its own when `holds`, else the one to fill.
  Entry& place(const std::uint8_t* piece, std::size_t bytes) {
    if (entries_.empty()) entries_.resize(num_entries);
    std::uint64_t h = bytes;
    for (std::size_t i = 0; i + 8 < bytes; i += 8) h = mix(h, piece + i);
    return entries_[mix(h, piece + bytes - 8) >> 51];
  }
  static bool holds(const Entry& entry, const std::uint8_t* piece, std::size_t bytes) noexcept {
    return entry.length == bytes && std::memcmp(entry.bytes, piece, bytes) == 0;
  }
  static void fill(Entry& entry, const std::uint8_t* piece, std::size_t bytes, const std::uint32_t* ids,
                   std::size_t count) noexcept {
    entry.length = static_cast<std::uint8_t>(bytes);
    entry.count = static_cast<std::uint8_t>(count);
    std::memcpy(entry.bytes, piece, bytes);
    std::memcpy(entry.ids, ids, count * sizeof *ids);
  }

 private:
  static constexpr std::size_t num_entries = std::size_t{1} << 13;  // 64 - 13 is the shift in place()
  static std::uint64_t mix(std::uint64_t h, const std::uint8_t* p) noexcept {
    std::uint64_t v;
    std::memcpy(&v, p, 8);
    h = (h ^ v) * 0x9E3779B97F4A7C15ULL;
    return (h ^ h >> 29) * 0xD6E8FEB86659FD93ULL;
  }
  std::vector<Entry> entries_;
};

struct BpeModelArgs {
  const std::uint8_t* token_data;     // bytes of all tokens; read only when ignore_merges
  const std::int64_t* token_offsets;  // (V+1,)
  const std::uint32_t* pairs;         // (M, 2)  left and right id of each merge
  const std::uint32_t* ranks;         // (M,)    lower merges first
  const std::uint32_t* id_of_rank;    // (R,)    what a merge of that rank gives
  const std::uint32_t* byte_ids;      // (256,)
  std::size_t V, M, R;
  int pattern;         // Pattern::number
  bool ignore_merges;  // a piece that is a token is that token, whatever the merges say
};

class BpeModel {
 public:
  struct Worker {
    PieceCache cache;
    LongPieceCache long_cache;
    std::vector<std::uint32_t> ids, ranks, prev, next;  // of long pieces
    std::vector<std::uint64_t> heap;
  };

  explicit BpeModel(const BpeModelArgs& args);

  // Ids of one piece, without the cache; `out` has room for one id a byte. Returns their number.
  std::size_t encode_piece(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w) const;

  std::unique_ptr<Worker> take_worker();  // a warm one when there is one
  void give_back(std::unique_ptr<Worker> worker);

  int pattern() const noexcept { return pattern_; }

 private:
  std::size_t merge_short(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out) const noexcept;
  std::size_t merge_long(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w) const;

  PairTable table_;
  std::vector<std::uint32_t> id_of_rank_, byte_ids_;
  std::vector<std::uint32_t> byte_pair_rank_;  // (256, 256): a piece's first ranks without hashing
  std::vector<char> token_bytes_;
  std::unordered_map<std::string_view, std::uint32_t> whole_;  // empty unless ignore_merges
  int pattern_;
  bool ignore_merges_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> idle_;
};

}  // namespace fasttrain::tokenizer
