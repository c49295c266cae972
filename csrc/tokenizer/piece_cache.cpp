#include "tokenizer/piece_cache.h"

#include <algorithm>
#include <bit>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fasttrain::tokenizer {
namespace {

constexpr std::size_t huge_page = std::size_t{1} << 21;
constexpr std::size_t bucket_bytes = 2 * sizeof(PieceCache::Entry);

}  // namespace

// Three quarters of `max_bytes` at most for the entries, an eighth for the spill, which may be half empty.
PieceCache::PieceCache(std::size_t max_bytes)
    : max_buckets_(std::max<std::size_t>(std::bit_floor(max_bytes * 3 / 4 / bucket_bytes), 2)),
      max_spill_(max_bytes / 8 / sizeof(std::uint32_t)) {
  allocate(std::min<std::size_t>(max_buckets_, 1 << 12));
}

// Tables of megabytes are read at random: huge pages spare most of the TLB misses, and must be asked for before the
// first touch.
void PieceCache::allocate(std::size_t buckets) {
  const std::size_t bytes = buckets * bucket_bytes;
  const std::size_t alignment = bytes >= huge_page ? huge_page : 64;
  auto* entries = static_cast<Entry*>(std::aligned_alloc(alignment, std::max(bytes, alignment)));
  if (entries == nullptr) throw std::bad_alloc();
#if defined(__linux__)
  if (bytes >= huge_page) madvise(entries, bytes, MADV_HUGEPAGE);
#endif
  std::memset(static_cast<void*>(entries), 0, bytes);
  entries_.reset(entries);
  buckets_ = buckets;
  shift_ = 64 - std::countr_zero(buckets);
}

void PieceCache::place(const Entry& entry, std::uint64_t hash) noexcept {
  Entry* bucket = entries_.get() + 2 * (hash >> shift_);
  bucket[1] = bucket[0];
  bucket[0] = entry;
}

void PieceCache::grow() {
  auto old = std::move(entries_);
  const std::size_t entries = 2 * buckets_;
  allocate(std::min(4 * buckets_, max_buckets_));
  num_inserted_ = 0;
  for (std::size_t i = entries; i-- > 0;)  // the newer of a bucket last, so that it stays the newer
    if (old[i].hi != 0) {
      place(old[i], hash({old[i].lo, old[i].hi}));
      ++num_inserted_;
    }
}

void PieceCache::insert(Key key, std::uint64_t hash, const std::uint8_t* piece, std::size_t bytes,
                        const std::uint32_t* ids, std::size_t count) {
  const bool is_long = bytes > short_bytes, spills = is_long || count > short_ids;
  if (count > long_ids) return;
  Entry entry{key.lo, key.hi, {0, 0, 0}, static_cast<std::uint32_t>(count)};
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
