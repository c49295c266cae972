#include "tokenizer/sentencepiece_bpe.h"

#include <algorithm>
#include <array>

#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {

namespace {

using Worker = SentencePieceModel::Worker;

constexpr std::uint8_t escaped_space[3] = {0xE2, 0x96, 0x81};  // U+2581

bool is_space(const std::uint8_t* at, const std::uint8_t* end) noexcept {
  return end - at >= 3 && at[0] == escaped_space[0] && at[1] == escaped_space[1] && at[2] == escaped_space[2];
}

void offer(const SentencePieceModel& m, Worker& w, std::int32_t left, std::int32_t right) {
  if (left < 0 || right < 0 || w.symbols[left].frozen || w.symbols[right].frozen) return;
  const Worker::Symbol& l = w.symbols[left];
  const std::uint32_t size = l.size + w.symbols[right].size;
  const std::uint32_t id = m.find(l.bytes, size);
  if (id == SentencePieceModel::none) return;
  w.agenda.push_back({m.scores[id], left, right, size});
  std::push_heap(w.agenda.begin(), w.agenda.end());
  if (m.kinds[id] == SentencePieceModel::unused)
    w.made[{reinterpret_cast<const char*>(l.bytes), size}] = l.size;
}

// Ids of a symbol that nothing merges any more; an unused piece is taken apart into the two that made it.
std::size_t emit(const SentencePieceModel& m, const Worker& w, const std::uint8_t* bytes, std::uint32_t size,
                 std::uint32_t* out) {
  const std::uint32_t id = m.find(bytes, size);
  if (id == SentencePieceModel::none) return emit_piece(m, m.unk_id, bytes, size, out);
  if (m.kinds[id] == SentencePieceModel::unused) {
    const auto found = w.made.find({reinterpret_cast<const char*>(bytes), size});
    if (found != w.made.end()) {
      const std::uint32_t left = found->second;
      const std::size_t count = emit(m, w, bytes, left, out);
      return count + emit(m, w, bytes + left, size - left, out + count);
    }
  }
  return emit_piece(m, id, bytes, size, out);
}

std::size_t merge(const SentencePieceModel& m, Worker& w, const std::uint8_t* at, const std::uint8_t* end,
                  std::uint32_t* out) {
  w.symbols.clear();
  w.agenda.clear();
  w.made.clear();
  while (at < end) {
    const std::size_t fixed = m.symbol(at, end), size = fixed ? fixed : char_bytes(at, end);
    const auto here = static_cast<std::int32_t>(w.symbols.size());
    w.symbols.push_back({at, static_cast<std::uint32_t>(size), here - 1, here + 1, fixed != 0});
    at += size;
  }
  if (w.symbols.empty()) return 0;
  w.symbols.back().next = -1;
  for (std::size_t i = 1; i < w.symbols.size(); ++i)
    offer(m, w, static_cast<std::int32_t>(i) - 1, static_cast<std::int32_t>(i));
  while (!w.agenda.empty()) {
    std::pop_heap(w.agenda.begin(), w.agenda.end());
    const Worker::Pair top = w.agenda.back();
    w.agenda.pop_back();
    Worker::Symbol &left = w.symbols[top.left], &right = w.symbols[top.right];
    if (left.size == 0 || right.size == 0 || left.size + right.size != top.size) continue;  // merged otherwise since
    left.size = top.size;
    right.size = 0;
    left.next = right.next;
    if (right.next >= 0) w.symbols[right.next].previous = top.left;
    offer(m, w, left.previous, top.left);
    offer(m, w, top.left, left.next);
  }
  std::size_t count = 0;
  for (std::int32_t i = 0; i >= 0; i = w.symbols[i].next)
    count += emit(m, w, w.symbols[i].bytes, w.symbols[i].size, out + count);
  return count;
}

// A stretch that was not met before.
std::size_t encode_new(const SentencePieceModel& m, Worker& w, const std::uint8_t* at, const std::uint8_t* end,
                       std::uint32_t* out) {
  if (const SentencePieceMerges* merges = m.merges())
    if (const auto count = merges->encode(m, at, end, out)) return *count;
  return merge(m, w, at, end, out);
}

// Stretches whose look-ups are under way: the lines that they are in arrive while the next ones are cut.
class Probes {
 public:
  explicit Probes(PieceCache& cache, const std::uint8_t* text_end) noexcept : cache_(cache), text_end_(text_end) {}

  bool is_full() const noexcept { return num_ == room; }

  void add(const std::uint8_t* at, const std::uint8_t* end) noexcept {
    const auto bytes = static_cast<std::size_t>(end - at);
    Probe& probe = probes_[num_++];
    probe.at = at;
    probe.bytes = bytes;
    if (bytes > PieceCache::short_bytes)
      probe.key = bytes > PieceCache::long_bytes ? PieceCache::Key{} : PieceCache::long_key(at, bytes);
    else
      probe.key = text_end_ - at >= 16 ? PieceCache::masked_key(at, bytes) : PieceCache::short_key(at, bytes);
    probe.hash = PieceCache::hash(probe.key);
    cache_.prefetch(probe.hash);
  }

  // The ids of all of them at `out`; returns their number.
  std::size_t answer(const SentencePieceModel& m, Worker& w, std::uint32_t* out) {
    std::uint32_t* to = out;
    for (int i = 0; i < num_; ++i) to += one(m, w, probes_[i], to);
    num_ = 0;
    return static_cast<std::size_t>(to - out);
  }

 private:
  static constexpr int room = 64;
  struct Probe {
    PieceCache::Key key;
    std::uint64_t hash;
    const std::uint8_t* at;
    std::size_t bytes;
  };

  std::size_t one(const SentencePieceModel& m, Worker& w, const Probe& p, std::uint32_t* out) {
    if (p.bytes > PieceCache::long_bytes) return encode_new(m, w, p.at, p.at + p.bytes, out);
    const bool is_short = p.bytes <= PieceCache::short_bytes;
    const PieceCache::Entry* hit = cache_.find(p.key, p.hash);
    if (hit && is_short && hit->count <= PieceCache::short_ids && text_end_ - p.at >= 3) {
      out[0] = hit->ids[0];  // an id a byte has room, and three stores cost less than a branch on the count
      out[1] = hit->ids[1];
      out[2] = hit->ids[2];
      return hit->count;
    }
    if (hit && (is_short || cache_.holds_long(*hit, p.at, p.bytes))) {
      const std::uint32_t* ids = is_short && hit->count <= PieceCache::short_ids ? hit->ids : cache_.spilled(*hit);
      std::memcpy(out, ids, hit->count * sizeof *out);
      return hit->count;
    }
    const std::size_t count = encode_new(m, w, p.at, p.at + p.bytes, out);
    cache_.insert(p.key, p.hash, p.at, p.bytes, out, count);
    return count;
  }

  PieceCache& cache_;
  const std::uint8_t* text_end_;
  Probe probes_[room];
  int num_ = 0;
};

// Where the stretch that begins at `at` ends: at a space that does not begin it, or where no piece reaches over.
const std::uint8_t* stretch_end(const SentencePieceModel& m, const std::uint8_t* at, const std::uint8_t* end) noexcept {
  const std::uint8_t* stop = at + 1;
  if (m.opens_with_space) {
    stop = at;
    while (is_space(stop, end)) stop += 3;
    if (stop == at) ++stop;
  }
  for (; stop < end; ++stop) {
    if (*stop == escaped_space[0] && m.opens_with_space && is_space(stop, end)) return stop;
    if (!m.is_joined(stop[-1], *stop) && (*stop & 0xC0) != 0x80) return stop;
  }
  return end;
}

std::size_t encode(const SentencePieceModel& m, Worker& w, const std::uint8_t* at, const std::uint8_t* end,
                   std::uint32_t* out) {
  // What an unused piece is taken apart into is what made it last anywhere in the text: no word stands alone then.
  if (m.has_unused) return merge(m, w, at, end, out);
  Probes probes(w.cache(), end);
  std::size_t count = 0;
  while (at < end) {
    const std::uint8_t* stop = stretch_end(m, at, end);
    while (at < stop) {
      const bool is_short = stop - at <= static_cast<std::ptrdiff_t>(PieceCache::short_bytes);
      const std::uint8_t* cut = is_short ? stop : m.cuts().next(at, stop);
      probes.add(at, cut);
      if (probes.is_full()) count += probes.answer(m, w, out + count);
      at = cut;
    }
  }
  return count + probes.answer(m, w, out + count);
}

}  // namespace

void sentencepiece_bpe_scalar(const SentencePieceArgs& a) noexcept { encode_sentences(a, encode); }

std::span<const Impl<SentencePieceFn>> sentencepiece_bpe_impls() {
  static constexpr std::array<Impl<SentencePieceFn>, 1> impls{{{"scalar", Isa::any, sentencepiece_bpe_scalar}}};
  return impls;
}

}  // namespace fasttrain::tokenizer
