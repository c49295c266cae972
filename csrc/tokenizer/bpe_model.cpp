#include "tokenizer/bpe_model.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <unordered_set>

#include "tokenizer/scan.h"

namespace fasttrain::tokenizer {
namespace {

// Up to here the quadratic merge in registers and L1 beats the heap's constant.
constexpr std::size_t short_bytes = 64;

}  // namespace

BpeModel::BpeModel(const BpeModelArgs& a)
    : table_(a.pairs, a.ranks, a.M),
      id_of_rank_(a.id_of_rank, a.id_of_rank + a.R),
      byte_ids_(a.byte_ids, a.byte_ids + 256),
      byte_pair_rank_(256 * 256),
      token_bytes_(a.token_data, a.token_data + a.token_offsets[a.V]),
      token_offsets_(a.token_offsets, a.token_offsets + a.V + 1),
      added_(a.added_data, a.added_offsets, a.added_ids, a.A),
      pattern_(a.pattern),
      cache_bytes_(a.cache_bytes),
      merge_bytes_(a.merge_bytes),
      first_buckets_(a.first_buckets) {
  if (a.M > 0) first_id_ = id_of_rank_[a.ranks[0]] - a.ranks[0];  // may wrap
  for (std::size_t m = 0; m < a.M; ++m) is_in_order_ &= id_of_rank_[a.ranks[m]] == a.ranks[m] + first_id_;
  for (std::size_t x = 0; x < 256; ++x)
    for (std::size_t y = 0; y < 256; ++y) byte_pair_rank_[x << 8 | y] = table_.rank(byte_ids_[x], byte_ids_[y]);
  Worker w(0, 1);
  std::vector<std::uint32_t> ids;
  std::unordered_set<std::string_view> seen;
  decltype(whole_) whole;
  for (std::size_t v = 0; v < a.V; ++v) {
    const std::uint8_t* token = token_bytes_.data() + token_offsets_[v];
    const auto bytes = static_cast<std::size_t>(token_offsets_[v + 1] - token_offsets_[v]);
    if (bytes == 0) continue;
    ids.resize(std::max(ids.size(), bytes));
    const std::size_t left = merge(token, bytes, ids.data(), w, 2);
    const std::uint32_t rank = left == 2 ? table_.rank(ids[0], ids[1]) : no_rank;
    const bool is_own = bytes == 1 ? ids[0] == v : rank != no_rank && id_of_rank_[rank] == v;
    if (is_own)
      made_.push_back({static_cast<std::uint32_t>(v), ids[0], bytes == 1 ? 0 : ids[1], bytes == 1 ? 0 : rank + 1, token,
                       static_cast<std::uint32_t>(bytes)});
    const std::string_view text(reinterpret_cast<const char*>(token), bytes);
    if (!seen.insert(text).second) continue;  // of equal tokens the first is the one that is emitted whole
    if (a.ignore_merges && !is_own) whole.emplace(text, v);
    if ((is_own || a.ignore_merges) && bytes <= PieceCache::short_bytes)
      seeds_.push_back(static_cast<std::uint32_t>(v));
  }
  whole_ = std::move(whole);
  add_cuts(a);
  add_digits();
}

// Cuts are exact when all that merging makes is known by its bytes.
void BpeModel::add_cuts(const BpeModelArgs& a) {
  const auto text = [&](std::size_t v) {
    return std::string_view(reinterpret_cast<const char*>(token_bytes_.data()) + token_offsets_[v],
                            static_cast<std::size_t>(token_offsets_[v + 1] - token_offsets_[v]));
  };
  for (std::size_t b = 0; b < 256; ++b)
    if (byte_ids_[b] >= a.V || text(byte_ids_[b]) != std::string(1, static_cast<char>(b))) return;
  for (std::size_t m = 0; m < a.M; ++m) {
    const std::size_t left = a.pairs[2 * m], right = a.pairs[2 * m + 1], made = id_of_rank_[a.ranks[m]];
    if (left >= a.V || right >= a.V || made >= a.V) return;
    const std::string_view l = text(left), r = text(right), both = text(made);
    if (both.size() != l.size() + r.size() || both.substr(0, l.size()) != l || both.substr(l.size()) != r) return;
  }
  for (std::size_t v = 0; v < a.V; ++v)
    cuts_.add_token(token_bytes_.data() + token_offsets_[v], text(v).size());
  cuts_.enable();
}

void BpeModel::add_digits() {
  const int digits = Pattern::number(pattern_).max_digits;
  Worker w(0, 1);
  for (std::uint32_t n = 0, num = digits == 3 ? 1000 : digits == 1 ? 10 : 0; n < num; ++n) {
    std::uint8_t group[3];
    for (std::uint32_t i = static_cast<std::uint32_t>(digits), rest = n; i-- > 0; rest /= 10)
      group[i] = static_cast<std::uint8_t>('0' + rest % 10);
    std::uint32_t ids[3];
    if (encode_piece(group, static_cast<std::size_t>(digits), ids, w) != 1) return digit_ids_.clear();
    digit_ids_.push_back(ids[0]);
  }
}

void BpeModel::seed(PieceCache& cache) const {
  for (const std::uint32_t id : seeds_) {
    const std::int64_t begin = token_offsets_[id];
    const auto bytes = static_cast<std::size_t>(token_offsets_[id + 1] - begin);
    const PieceCache::Key key = PieceCache::short_key(token_bytes_.data() + begin, bytes);
    cache.insert(key, PieceCache::hash(key), token_bytes_.data() + begin, bytes, &id, 1);
  }
}

std::unique_ptr<BpeModel::Worker> BpeModel::take_worker() {
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      auto worker = std::move(idle_.back());
      idle_.pop_back();
      return worker;
    }
  }
  auto worker = std::make_unique<Worker>(cache_bytes_, first_buckets_);
  seed(worker->cache);
  return worker;
}

void BpeModel::give_back(std::unique_ptr<Worker> worker) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(worker));
}

std::size_t BpeModel::encode_piece(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w) const {
  if (const std::uint32_t id = whole(piece, bytes); id != no_rank) {
    out[0] = id;
    return 1;
  }
  // The tables of backtracking take some 50 ms to build for 100,000 tokens: they are for text that has enough of it.
  if (bytes > short_bytes && (w.long_bytes += bytes) > merge_bytes_)
    if (const BpeBacktrack* b = backtrack()) return b->encode(table_, piece, bytes, out, w.backtrack);
  return merge(piece, bytes, out, w, 1);
}

std::size_t BpeModel::merge(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w,
                            std::size_t stop) const {
  return bytes <= short_bytes ? merge_short(piece, bytes, out, stop) : merge_long(piece, bytes, out, w, stop);
}

// Like cuts it needs every token's bytes to be those of its parts.
const BpeBacktrack* BpeModel::backtrack() const {
  if (!cuts_.is_on()) return nullptr;
  std::call_once(built_, [this] {
    backtrack_ = std::make_unique<const BpeBacktrack>(made_, token_offsets_.size() - 1);
  });
  return backtrack_.get();
}

// Merge the pair of lowest rank, the leftmost of equals, until none is left. `out` serves as the symbols.
std::size_t BpeModel::merge_short(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                                  std::size_t stop) const noexcept {
  std::uint32_t ranks[short_bytes];
  for (std::size_t i = 0; i < bytes; ++i) out[i] = byte_ids_[piece[i]];
  for (std::size_t i = 0; i + 1 < bytes; ++i) ranks[i] = byte_pair_rank_[std::size_t{piece[i]} << 8 | piece[i + 1]];
  std::size_t n = bytes;
  while (n > stop) {
    std::size_t best = 0;
    for (std::size_t i = 1; i + 1 < n; ++i)
      if (ranks[i] < ranks[best]) best = i;
    if (ranks[best] == no_rank) break;
    out[best] = id_of_rank_[ranks[best]];
    --n;
    for (std::size_t i = best + 1; i < n; ++i) out[i] = out[i + 1];
    for (std::size_t i = best; i + 1 < n; ++i) ranks[i] = ranks[i + 1];
    if (best > 0) ranks[best - 1] = table_.rank(out[best - 1], out[best]);
    if (best + 1 < n) ranks[best] = table_.rank(out[best], out[best + 1]);
  }
  return n;
}

// The same in O(n log n): a linked list of symbols and a heap of (rank, position) whose stale entries are skipped.
std::size_t BpeModel::merge_long(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w,
                                 std::size_t stop) const {
  constexpr std::uint32_t none = 0xFFFFFFFF;
  const auto n = static_cast<std::uint32_t>(bytes);
  w.ids.resize(n);
  w.ranks.assign(n, no_rank);
  w.prev.resize(n);
  w.next.resize(n);
  w.heap.clear();
  for (std::uint32_t i = 0; i < n; ++i) {
    w.ids[i] = byte_ids_[piece[i]];
    w.prev[i] = i == 0 ? none : i - 1;
    w.next[i] = i + 1 == n ? none : i + 1;
    if (i + 1 < n) w.ranks[i] = byte_pair_rank_[std::size_t{piece[i]} << 8 | piece[i + 1]];
    if (w.ranks[i] != no_rank) w.heap.push_back(std::uint64_t{w.ranks[i]} << 32 | i);
  }
  const std::greater<> later;
  std::make_heap(w.heap.begin(), w.heap.end(), later);
  const auto rerank = [&](std::uint32_t i) {
    w.ranks[i] = w.next[i] == none ? no_rank : table_.rank(w.ids[i], w.ids[w.next[i]]);
    if (w.ranks[i] == no_rank) return;
    w.heap.push_back(std::uint64_t{w.ranks[i]} << 32 | i);
    std::push_heap(w.heap.begin(), w.heap.end(), later);
  };
  for (std::size_t symbols = n; symbols > stop && !w.heap.empty();) {
    std::pop_heap(w.heap.begin(), w.heap.end(), later);
    const std::uint64_t top = w.heap.back();
    w.heap.pop_back();
    const auto i = static_cast<std::uint32_t>(top);
    if (w.ranks[i] != top >> 32) continue;  // merged away or changed since
    --symbols;
    const std::uint32_t right = w.next[i];
    w.ids[i] = id_of_rank_[w.ranks[i]];
    w.next[i] = w.next[right];
    if (w.next[i] != none) w.prev[w.next[i]] = i;
    w.ranks[right] = no_rank;
    rerank(i);
    if (w.prev[i] != none) rerank(w.prev[i]);
  }
  std::size_t count = 0;
  for (std::uint32_t i = 0; i != none; i = w.next[i]) out[count++] = w.ids[i];
  return count;
}

}  // namespace fasttrain::tokenizer
