// PieceCache against a model of it, all its buckets after every growth: for the build with ASan, which also counts what
// it asks for (-DFASTTRAIN_SANITIZE=ON -DFASTTRAIN_NATIVE_TESTS=ON).

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>
#include <vector>

#include "tokenizer/piece_cache.h"

using fasttrain::tokenizer::PieceCache;

#if defined(__SANITIZE_ADDRESS__)  // its header is not everywhere
extern "C" int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void*, std::size_t),
                                                         void (*)(const volatile void*));
#endif

namespace {

std::mt19937_64 rng(19800101);

std::size_t below(std::size_t n) { return rng() % n; }

void check(bool holds, const char* what) {
  if (holds) return;
  std::printf("piece_cache: %s\n", what);
  std::exit(1);
}

// Bytes that the cache holds and held at most: counted where `is_on`.
struct Memory {
  bool is_on = false;
  std::size_t bytes = 0, peak = 0;
  std::map<const volatile void*, std::size_t> blocks;
} memory;

template <typename F>
auto counted(F call) {
  memory.is_on = true;
  struct Off {
    ~Off() { memory.is_on = false; }
  } off;
  return call();
}

#if defined(__SANITIZE_ADDRESS__)
void on_malloc(const volatile void* p, std::size_t bytes) {
  if (!memory.is_on) return;
  memory.is_on = false;  // the map's own are not counted
  memory.blocks[p] = bytes;
  memory.is_on = true;
  memory.peak = std::max(memory.peak, memory.bytes += bytes);
}

void on_free(const volatile void* p) {
  if (!memory.is_on || p == nullptr) return;
  memory.is_on = false;
  if (const auto it = memory.blocks.find(p); it != memory.blocks.end()) {
    memory.bytes -= it->second;
    memory.blocks.erase(it);
  }
  memory.is_on = true;
}
#endif

struct Piece {
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint32_t> ids;
  std::uint32_t tag;
  PieceCache::Key key;

  std::uint64_t hash() const { return PieceCache::hash(key); }
  bool is_long() const { return bytes.size() > PieceCache::short_bytes; }
  bool spills() const { return is_long() || ids.size() > PieceCache::short_ids; }
};

bool same(PieceCache::Key a, PieceCache::Key b) { return a.lo == b.lo && a.hi == b.hi; }

std::vector<std::uint32_t> random_ids(bool many) {
  std::vector<std::uint32_t> ids(many ? 1 + below(PieceCache::long_ids + 3) : 1 + below(PieceCache::short_ids));
  for (auto& id : ids) id = static_cast<std::uint32_t>(rng());
  return ids;
}

// One in `spill_every` is long or has many ids.
Piece random_piece(std::size_t spill_every) {
  const bool spills = below(spill_every) == 0, is_long = spills && below(2) == 0;
  std::size_t bytes = 1 + below(PieceCache::short_bytes);
  if (is_long) bytes = below(4) == 0 ? 16 + 239 * below(2) : 16 + below(PieceCache::long_bytes - 15);
  Piece p{std::vector<std::uint8_t>(bytes), random_ids(spills), static_cast<std::uint32_t>(rng() >> 40), {}};
  const bool few = below(4) == 0;
  for (auto& byte : p.bytes) byte = static_cast<std::uint8_t>(few ? "ab\0"[below(3)] : rng());
  if (is_long) {
    p.key = PieceCache::long_key(p.bytes.data(), bytes);
    return p;
  }
  p.key = PieceCache::short_key(p.bytes.data(), bytes);
  std::vector<std::uint8_t> followed(p.bytes);
  while (followed.size() < 16) followed.push_back(static_cast<std::uint8_t>(rng()));
  check(same(p.key, PieceCache::masked_key(followed.data(), bytes)), "the two keys of a short piece differ");
  return p;
}

// Two pieces a bucket, the newer first; the older of them makes room for a third.
class Model {
 public:
  Model(std::size_t max_bytes, std::size_t num) : num(num), max_spill_(max_bytes / 8 / 4) {}

  // Whether the spill was full, so that all went.
  bool insert(const Piece& p) {
    if (p.ids.size() > PieceCache::long_ids) return false;
    const std::size_t size = !p.spills() ? 0 : p.ids.size() + (p.is_long() ? (p.bytes.size() + 3) / 4 : 0);
    if (size > max_spill_) return false;
    const bool is_full = spilled_ + size > max_spill_;
    if (is_full) {
      buckets.clear();
      spilled_ = 0;
    }
    spilled_ += size;
    auto& bucket = buckets[place(p)];
    bucket.insert(bucket.begin(), p);
    if (bucket.size() == 3) {
      gone = bucket.back();
      bucket.pop_back();
    }
    return is_full;
  }

  void grow(std::size_t more) {
    num = more;
    std::map<std::size_t, std::vector<Piece>> old;
    old.swap(buckets);
    for (const auto& [at, bucket] : old)
      for (const Piece& p : bucket) buckets[place(p)].push_back(p);
  }

  std::size_t held() const {
    std::size_t sum = 0;
    for (const auto& [at, bucket] : buckets) sum += bucket.size();
    return sum;
  }

  // Litwin's rule: a bucket that is not there yet is still part of the one that it will be split from.
  std::size_t place(const Piece& p) const {
    const std::size_t all = std::bit_ceil(num), i = (p.hash() >> 32) % all;
    return i < num ? i : i - all / 2;
  }

  std::map<std::size_t, std::vector<Piece>> buckets;
  std::size_t num;
  Piece gone;

 private:
  std::size_t max_spill_, spilled_ = 0;
};

// Bucket i has the hash i << 32 as long as it is there.
std::size_t num_buckets(const PieceCache& cache, std::size_t at_least) {
  const PieceCache::Entry* first = cache.prefetch(0);
  std::size_t n = at_least;
  while (cache.prefetch(std::uint64_t{n} << 32) == first + 2 * n) ++n;
  return n;
}

void check_entry(const PieceCache& cache, const PieceCache::Entry& entry, const Piece& p) {
  check(same({entry.lo, entry.hi}, p.key), "an entry is not where it belongs");
  check(entry.count == p.ids.size() && std::equal(p.ids.begin(), p.ids.end(), cache.ids(entry)), "other ids");
  check(entry.plain == !p.spills() && entry.tag == p.tag, "another tag, or plain where it is not");
  if (!p.is_long()) return;
  std::vector<std::uint8_t> other(p.bytes);
  other[below(other.size())] ^= 1;
  check(cache.holds_long(entry, p.bytes.data(), p.bytes.size()), "other bytes of a long piece");
  check(!cache.holds_long(entry, other.data(), other.size()), "a long piece taken for another");
}

void check_all(const PieceCache& cache, const Model& model) {
  const PieceCache::Entry* first = cache.prefetch(0);
  static const std::vector<Piece> none;
  for (std::size_t i = 0; i < model.num; ++i) {
    const auto it = model.buckets.find(i);
    const std::vector<Piece>& bucket = it == model.buckets.end() ? none : it->second;
    for (std::size_t j = 0; j < 2; ++j) {
      const PieceCache::Entry& entry = first[2 * i + j];
      if (j >= bucket.size()) {
        check(entry.lo == 0 && entry.hi == 0 && !entry.plain, "an entry that was not inserted, or was pushed out");
        continue;
      }
      check_entry(cache, entry, bucket[j]);
      const bool is_newest = j == 0 || !same(bucket[0].key, bucket[1].key);
      check(cache.find(bucket[j].key, bucket[j].hash()) == &first[2 * i + (is_newest ? j : 0)], "not found");
    }
  }
}

struct Seen {
  std::size_t growths = 0, cleared = 0, pushed_out = 0, moved = 0;
} seen;

struct Asked {
  Piece piece;
  const PieceCache::Entry* bucket;
};

void one_cache(std::size_t max_bytes, std::size_t first_buckets, std::size_t spill_every) {
  memory = {};
  PieceCache cache = counted([&] { return PieceCache(max_bytes, first_buckets); });
  const std::size_t most = std::max<std::size_t>(std::bit_floor(max_bytes / 4 * 3 / 64), 2);
  Model model(max_bytes, std::min(first_buckets, most));
  std::vector<Asked> asked;
  const std::size_t inserts = 4 * most + 50;
  for (std::size_t n = 0; n < inserts; ++n) {
    Piece p = random_piece(spill_every);
    if (!asked.empty() && below(16) == 0) {  // met again; as a long one, another piece of the same key
      const std::uint32_t tag = p.tag;
      p = asked[below(asked.size())].piece;
      p.tag = tag;
      p.ids = random_ids(p.spills());
      if (p.is_long()) p.bytes[below(p.bytes.size())] ^= 2;
    }
    model.gone = {};
    counted([&] {
      cache.insert(p.key, p.hash(), p.bytes.data(), p.bytes.size(), p.ids.data(), p.ids.size(), p.tag);
    });
    const bool cleared = model.insert(p);
    seen.cleared += cleared;
    if (const Piece& gone = model.gone; !gone.bytes.empty()) {
      ++seen.pushed_out;
      const auto& bucket = model.buckets[model.place(gone)];
      const bool is_back = std::any_of(bucket.begin(), bucket.end(), [&](auto& b) { return same(b.key, gone.key); });
      check(is_back || !cache.find(gone.key, gone.hash()), "the older one of a bucket was not pushed out");
    }
    const std::size_t num = num_buckets(cache, model.num);
    check(num <= most && num - model.num <= 256, "too many buckets, or too many at once");
    const bool grown = num > model.num;
    check(!grown || model.held() * 8 > model.num * 5, "grown before it was full");
    if (grown) model.grow(num);
    seen.growths += grown;
    if (grown || cleared || n % 1024 == 0 || n + 1 == inserts) check_all(cache, model);
    // A bucket asked for before may have been split since: what it no longer holds is found by the hash.
    for (const Asked& a : grown ? asked : std::vector<Asked>{}) {
      const PieceCache::Entry *old = PieceCache::find_in(a.bucket, a.piece.key),
                              *now = cache.find(a.piece.key, a.piece.hash());
      check(!old || old == now, "found where it was, but not where it is");
      seen.moved += now && !old;
    }
    if (n % 64 == 0) asked.clear();
    asked.push_back({p, cache.prefetch(p.hash())});
  }
  if (spill_every > 1000) check(model.num == most, "it did not grow as far as it may");
  check(model.num == most || model.held() * 8 <= model.num * 5, "fuller than it should become before it grows");
  const std::size_t two_buckets = 128;  // it has them even so
  check(memory.peak <= std::max(max_bytes, two_buckets + max_bytes / 4), "more memory than it may have");
}

}  // namespace

#if defined(__SANITIZE_ADDRESS__)
// More than that is refused, as by a system without overcommit.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "allocator_may_return_null=1:max_allocation_size_mb=32";
}
#endif

int main() {
#if defined(__SANITIZE_ADDRESS__)
  check(__sanitizer_install_malloc_and_free_hooks(on_malloc, on_free) > 0, "memory cannot be counted");
  const PieceCache small = counted([] { return PieceCache(1000); });
  check(memory.peak == 512, "memory is not counted");
#endif
  for (const std::size_t spill_every : {1, 3, 30, 100'000}) {
    for (const std::size_t max_bytes : {0, 128, 1'000, 5'000, 65'536, 87'384})
      for (const std::size_t first_buckets : {1, 4, 512}) one_cache(max_bytes, first_buckets, spill_every);
    one_cache(700'000, 512, spill_every);
  }
  one_cache(1 << 20, 1 << 12, 100);
  check(seen.growths > 100 && seen.cleared > 100 && seen.pushed_out > 1000 && seen.moved > 100,
        "the test tests too little");

  memory = {};
  PieceCache refused = counted([] { return PieceCache(std::size_t{1} << 28); });  // asks for 128 MB
  check(memory.peak <= std::size_t{1} << 25, "nothing was refused");
  const Piece p = random_piece(100'000);
  refused.insert(p.key, p.hash(), p.bytes.data(), p.bytes.size(), p.ids.data(), p.ids.size(), p.tag);
  check(refused.find(p.key, p.hash()) != nullptr, "nothing is remembered in less memory than was asked for");
  return 0;
}
