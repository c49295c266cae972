#include "tokenizer/sentencepiece_agenda.h"

#include <algorithm>

#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {

namespace {

using Worker = SentencePieceModel::Worker;

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

}  // namespace

std::size_t merge_by_agenda(const SentencePieceModel& m, Worker& w, const std::uint8_t* at, const std::uint8_t* end,
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

}  // namespace fasttrain::tokenizer
