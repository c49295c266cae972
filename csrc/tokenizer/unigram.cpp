#include "tokenizer/unigram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {

namespace {

using Worker = SentencePieceModel::Worker;
constexpr float unk_penalty = 10.0F, lowest_sum = -100000.0F;

// Count on from zero: every sum that is open goes up by as much, so that float32 keeps its digits in long texts.
void rebase(std::vector<Worker::Node>& path, std::size_t at, std::size_t longest) noexcept {
  const float base = path[at].score;
  const std::size_t last = std::min(path.size() - 1, at + longest);
  for (std::size_t k = at; k <= last; ++k)
    if (k == at || path[k].start >= 0) path[k].score -= base;
}

std::size_t encode(const SentencePieceModel& m, Worker& w, const std::uint8_t* text, const std::uint8_t* end,
                   std::uint32_t* out) {
  const std::size_t size = static_cast<std::size_t>(end - text);
  const float unk_score = m.min_score - unk_penalty;
  w.path.assign(size + 1, {0.0F, -1, m.unk_id});
  for (std::size_t at = 0; at < size;) {
    const std::size_t step = char_bytes(text + at, end);
    if (w.path[at].score < lowest_sum) rebase(w.path, at, m.longest);
    const float before = w.path[at].score;
    bool has_single = false;
    std::uint32_t base = m.trie().root();
    for (std::size_t k = at; k < size; ++k) {
      const ByteTrie::Node* node = m.trie().child(base, text[k]);
      if (node == nullptr) break;
      base = node->base;
      if (node->value == ByteTrie::none) continue;
      const float total = std::bit_cast<float>(node->extra) + before;
      Worker::Node& target = w.path[k + 1];
      if (target.start < 0 || total > target.score) target = {total, static_cast<std::int32_t>(at), node->value};
      has_single = has_single || k + 1 - at == step;
    }
    if (!has_single) {
      Worker::Node& target = w.path[at + step];
      const float total = unk_score + before;
      if (target.start < 0 || total > target.score) target = {total, static_cast<std::int32_t>(at), m.unk_id};
    }
    at += step;
  }
  // From the end back: each piece's ids go into `out` from its last place on, then all of them to the front.
  std::size_t back = size, first = size;
  while (back > 0) {
    const Worker::Node& node = w.path[back];
    const auto start = static_cast<std::size_t>(node.start);
    const bool as_bytes = node.id == m.unk_id && !m.byte_ids.empty();
    first -= as_bytes ? back - start : 1;
    emit_piece(m, node.id, text + start, back - start, out + first);
    back = start;
  }
  std::memmove(out, out + first, (size - first) * sizeof *out);
  return size - first;
}

}  // namespace

void unigram_scalar(const SentencePieceArgs& a) noexcept { encode_sentences(a, encode); }

std::span<const Impl<UnigramFn>> unigram_impls() {
  static constexpr std::array<Impl<UnigramFn>, 1> impls{{{"scalar", Isa::any, unigram_scalar}}};
  return impls;
}

}  // namespace fasttrain::tokenizer
