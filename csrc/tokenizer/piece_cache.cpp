#include "tokenizer/piece_cache.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <new>

namespace fasttrain::tokenizer {
namespace {

constexpr std::size_t bucket_bytes = 2 * sizeof(PieceCache::Entry);
constexpr std::size_t split_buckets = 256;  // at once: pages are read and written from end to end

// Five eighths of an entry a bucket: more push more pieces out while buckets are still to be split, and with
// fewer the pages never touched before cost up to 2 ms a megabyte where a virtual machine must ask its host for them.
bool is_full(std::size_t held, std::size_t buckets) noexcept { return held * 8 > buckets * 5; }

}  // namespace

// Three quarters of `max_bytes` at most for the entries, an eighth for the spill, and as much while that grows.
PieceCache::PieceCache(std::size_t max_bytes, std::size_t first_buckets)
    : max_buckets_(std::max<std::size_t>(std::bit_floor(max_bytes / 4 * 3 / bucket_bytes), 2)),
      max_spill_(std::min<std::size_t>(max_bytes / 8 / sizeof(std::uint32_t), ~std::uint32_t{0})),
      buckets_(std::min(max_buckets_, first_buckets)),
      half_(buckets_) {
  assert(std::has_single_bit(first_buckets));
  for (;; max_buckets_ /= 2) {
    try {
      entries_ = HugeArray<Entry>(2 * max_buckets_);
      break;
    } catch (const std::bad_alloc&) {  // a limit on addresses, or no overcommit: fewer will do
      if (max_buckets_ == buckets_) throw;
    }
  }
  clear();
}

void PieceCache::clear() noexcept {
  std::memset(static_cast<void*>(entries_.get()), 0, buckets_ * bucket_bytes);
  num_held_ = 0;
}

// Bucket b of the lower half becomes b and b + half_, by one bit of the hash; of two that stay together the newer stays
// first. By masks: which of them goes is anybody's guess.
void PieceCache::split() noexcept {
  struct Words {
    std::uint64_t at[4];
  };
  static_assert(sizeof(Words) == sizeof(Entry));
  for (std::size_t n = std::min(split_buckets, half_); n > 0; --n) {
    Entry* low = entries_.get() + 2 * (buckets_ - half_);
    Entry* high = entries_.get() + 2 * buckets_;
    const std::uint64_t first = -std::uint64_t{(hash({low[0].lo, low[0].hi}) >> 32 & half_) != 0};
    const std::uint64_t second = -std::uint64_t{(hash({low[1].lo, low[1].hi}) >> 32 & half_) != 0};
    Words old[2], stay[2], go[2];
    std::memcpy(old, low, sizeof old);
    for (int i = 0; i < 4; ++i) {  // an empty entry is zeros, wherever it goes
      const std::uint64_t x = old[0].at[i], y = old[1].at[i];
      stay[0].at[i] = (x & ~first) | (y & first & ~second);
      stay[1].at[i] = y & ~first & ~second;
      go[0].at[i] = (x & first) | (y & ~first & second);
      go[1].at[i] = y & first & second;
    }
    std::memcpy(static_cast<void*>(low), stay, sizeof stay);
    std::memcpy(static_cast<void*>(high), go, sizeof go);
    if (++buckets_ == 2 * half_) half_ = buckets_;
  }
}

void PieceCache::insert(Key key, std::uint64_t hash, const std::uint8_t* piece, std::size_t bytes,
                        const std::uint32_t* ids, std::size_t count, std::uint32_t tag) {
  const bool is_long = bytes > short_bytes, spills = is_long || count > short_ids;
  if (count > long_ids) return;
  Entry entry{key.lo, key.hi, {0, 0, 0}, static_cast<std::uint32_t>(count) & 127, !spills, tag & 0xFFFFFF};
  if (spills) {
    const std::size_t size = count + (is_long ? (bytes + 3) / 4 : 0);
    if (size > max_spill_) return;
    if (spill_.size() + size > max_spill_) {  // full: all that points into it goes, and so does the rest
      spill_.clear();
      clear();
    }
    entry.ids[0] = static_cast<std::uint32_t>(spill_.size());
    if (spill_.size() + size > spill_.capacity())  // left to itself it would double beyond max_spill_
      spill_.reserve(std::min(max_spill_, 2 * (spill_.size() + size)));
    spill_.insert(spill_.end(), ids, ids + count);
    spill_.resize(spill_.size() + size - count);
    if (is_long) std::memcpy(spill_.data() + entry.ids[0] + count, piece, bytes);
  } else {
    std::copy(ids, ids + count, entry.ids);
  }
  Entry* at = entries_.get() + 2 * place(hash);
  num_held_ += at[1].hi == 0;
  at[1] = at[0];
  at[0] = entry;
  if (is_full(num_held_, buckets_) && buckets_ < max_buckets_) split();
}

}  // namespace fasttrain::tokenizer
