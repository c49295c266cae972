#include "tokenizer/piece_cache.h"

#include <algorithm>
#include <bit>

namespace fasttrain::tokenizer {
namespace {

constexpr std::size_t bucket_bytes = 2 * sizeof(PieceCache::Entry);

}  // namespace

// Three quarters of `max_bytes` at most for the entries, an eighth for the spill, which may be half empty.
PieceCache::PieceCache(std::size_t max_bytes, std::size_t first_buckets)
    : max_buckets_(std::max<std::size_t>(std::bit_floor(max_bytes * 3 / 4 / bucket_bytes), 2)),
      max_spill_(max_bytes / 8 / sizeof(std::uint32_t)) {
  set_buckets(std::min(max_buckets_, first_buckets));
}

void PieceCache::set_buckets(std::size_t buckets) {
  entries_ = HugeArray<Entry>(2 * buckets, 0);
  buckets_ = buckets;
  shift_ = 64 - std::countr_zero(buckets);
}

void PieceCache::place(const Entry& entry, std::uint64_t hash) noexcept {
  Entry* bucket = entries_.get() + 2 * (hash >> shift_);
  bucket[1] = bucket[0];
  bucket[0] = entry;
}

void PieceCache::grow() {
  const auto held = std::move(entries_);
  const Entry* old = held.get();
  const std::size_t entries = 2 * buckets_;
  set_buckets(std::min(2 * buckets_, max_buckets_));
  num_inserted_ = 0;
  for (std::size_t i = entries; i-- > 0;)  // the newer of a bucket last, so that it stays the newer
    if (old[i].hi != 0) {
      place(old[i], hash({old[i].lo, old[i].hi}));
      ++num_inserted_;
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
      std::memset(static_cast<void*>(entries_.get()), 0, buckets_ * bucket_bytes);
      num_inserted_ = 0;
    }
    entry.ids[0] = static_cast<std::uint32_t>(spill_.size());
    spill_.insert(spill_.end(), ids, ids + count);
    spill_.resize(spill_.size() + size - count);
    if (is_long) std::memcpy(spill_.data() + entry.ids[0] + count, piece, bytes);
  } else {
    std::copy(ids, ids + count, entry.ids);
  }
  if (++num_inserted_ > buckets_ && buckets_ < max_buckets_) grow();
  place(entry, hash);
}

}  // namespace fasttrain::tokenizer
