// PieceCache from few buckets on, so that it grows by splitting, is cleared and pushes pieces out within an input: what
// it finds is what was inserted last of that key, or nothing, and what was just inserted is found. The ops that use it
// begin with more buckets than a short text fills.

#include "tokenizer/piece_cache.h"

#include <bit>
#include <map>
#include <utility>

#include "fuzz.h"

using namespace fasttrain;
using fasttrain::tokenizer::PieceCache;

namespace {

struct Piece {
  std::vector<std::uint8_t> bytes;
  std::vector<std::uint32_t> ids;
  std::uint32_t tag = 0;
};

PieceCache::Key key_of(const std::vector<std::uint8_t>& bytes) {
  return bytes.size() > PieceCache::short_bytes ? PieceCache::long_key(bytes.data(), bytes.size())
                                                : PieceCache::short_key(bytes.data(), bytes.size());
}

// Few different bytes: pieces come again, and short ones share buckets.
Piece take_piece(fuzz::Input& in) {
  Piece p;
  const std::uint8_t how = in.take(), seed = in.take();
  const std::size_t bytes = how & 1 ? 1 + how / 2 % PieceCache::short_bytes : 1 + std::size_t{how} % PieceCache::long_bytes;
  for (std::size_t i = 0; i < bytes; ++i) p.bytes.push_back(static_cast<std::uint8_t>(seed + (how & 2 ? i * seed : i)));
  const std::uint8_t num = in.take();
  p.ids.resize(num & 128 ? num & 127 : num % (PieceCache::short_ids + 2));
  for (std::size_t i = 0; i < p.ids.size(); ++i) p.ids[i] = static_cast<std::uint32_t>((seed + i) * 0x9E3779B9U);
  p.tag = in.take<std::uint16_t>() * 0x101U & 0xFFFFFF;
  p.bytes.shrink_to_fit(), p.ids.shrink_to_fit();
  return p;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input in(data, size);
  const std::size_t max_bytes = in.take<std::uint16_t>(), spill = max_bytes / 8 / sizeof(std::uint32_t);
  PieceCache cache(max_bytes, std::size_t{1} << in.take() % 7u);
  std::map<std::pair<std::uint64_t, std::uint64_t>, Piece> newest;
  std::vector<std::pair<PieceCache::Key, const PieceCache::Entry*>> asked;
  const auto check = [&](const PieceCache::Entry* found, PieceCache::Key key) {
    const Piece& p = newest.at({key.lo, key.hi});
    const bool is_long = p.bytes.size() > PieceCache::short_bytes;
    FUZZ_REQUIRE(found->count == p.ids.size() && found->tag == p.tag);
    FUZZ_REQUIRE(found->plain == (!is_long && p.ids.size() <= PieceCache::short_ids));
    FUZZ_REQUIRE(std::equal(p.ids.begin(), p.ids.end(), cache.ids(*found)));
    FUZZ_REQUIRE(!is_long || cache.holds_long(*found, p.bytes.data(), p.bytes.size()));
  };
  for (std::size_t n = size / 5 + 1; n > 0; --n) {
    Piece p = take_piece(in);
    const PieceCache::Key key = key_of(p.bytes);
    const std::uint64_t hash = PieceCache::hash(key);
    const bool is_long = p.bytes.size() > PieceCache::short_bytes;
    const std::size_t words = is_long ? p.ids.size() + (p.bytes.size() + 3) / 4 : p.ids.size() > PieceCache::short_ids ? p.ids.size() : 0;
    asked.emplace_back(key, cache.prefetch(hash));
    cache.insert(key, hash, p.bytes.data(), p.bytes.size(), p.ids.data(), p.ids.size(), p.tag);
    if (p.ids.size() <= PieceCache::long_ids && words <= spill) {
      newest[{key.lo, key.hi}] = std::move(p);
      FUZZ_REQUIRE(cache.find(key, hash) != nullptr);
    }
    if (n % 16 != 1) continue;
    for (const auto& [known, piece] : newest)
      if (const auto* found = cache.find({known.first, known.second}, PieceCache::hash({known.first, known.second})))
        check(found, {known.first, known.second});
    for (const auto& [before, bucket] : asked)  // it may have been split since: then it holds less
      if (const auto* found = PieceCache::find_in(bucket, before)) FUZZ_REQUIRE(found == cache.find(before, PieceCache::hash(before)));
    asked.clear();
  }
  return 0;
}
