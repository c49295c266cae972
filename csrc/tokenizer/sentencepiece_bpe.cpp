#include "tokenizer/sentencepiece_bpe.h"

#include <algorithm>
#include <array>

#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {

namespace {

using Worker = SentencePieceModel::Worker;

bool is_space(const std::uint8_t* at, const std::uint8_t* end) noexcept {
  return end - at >= 3 && at[0] == 0xE2 && at[1] == 0x96 && at[2] == 0x81;
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

// One word, from the worker's memory where it has met it.
std::size_t word(const SentencePieceModel& m, Worker& w, const std::uint8_t* at, const std::uint8_t* end,
                 std::uint32_t* out) {
  const auto size = static_cast<std::size_t>(end - at);
  if (size > Worker::max_bytes) return merge(m, w, at, end, out);
  Worker::Entry& entry = w.place(at, size);
  if (entry.length == size && std::memcmp(entry.bytes, at, size) == 0) {
    std::copy_n(entry.ids, entry.count, out);
    return entry.count;
  }
  const std::size_t count = merge(m, w, at, end, out);
  if (count <= Worker::max_ids) {
    entry.length = static_cast<std::uint8_t>(size);
    entry.count = static_cast<std::uint8_t>(count);
    std::memcpy(entry.bytes, at, size);
    std::copy_n(out, count, entry.ids);
  }
  return count;
}

std::size_t encode(const SentencePieceModel& m, Worker& w, const std::uint8_t* at, const std::uint8_t* end,
                   std::uint32_t* out) {
  // What an unused piece is taken apart into is what made it last anywhere in the text: no word stands alone then.
  if (!m.opens_with_space || m.has_unused) return merge(m, w, at, end, out);
  std::size_t count = 0;
  while (at < end) {
    const std::uint8_t* stop = at;
    while (is_space(stop, end)) stop += 3;
    while (stop < end && !is_space(stop, end)) ++stop;
    count += word(m, w, at, stop, out + count);
    at = stop;
  }
  return count;
}

}  // namespace

void sentencepiece_bpe_scalar(const SentencePieceArgs& a) noexcept { encode_sentences(a, encode); }

std::span<const Impl<SentencePieceFn>> sentencepiece_bpe_impls() {
  static constexpr std::array<Impl<SentencePieceFn>, 1> impls{{{"scalar", Isa::any, sentencepiece_bpe_scalar}}};
  return impls;
}

}  // namespace fasttrain::tokenizer
