#include "tokenizer/unigram_search.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {

namespace {

using Worker = SentencePieceModel::Worker;

template <typename Sum>
using Path = std::vector<Worker::Node<Sum>>;

// Count on from zero: every sum that is open goes up by as much, so that float32 keeps its digits in long texts.
void rebase(Path<float>& path, std::size_t at, std::size_t longest) noexcept {
  const float base = path[at].score;
  const std::size_t last = std::min(path.size() - 1, at + longest);
  for (std::size_t k = at; k <= last; ++k)
    if (k == at || path[k].start >= 0) path[k].score -= base;
}

template <typename Sum>
void offer(Worker::Node<Sum>& target, Sum total, std::size_t start, std::uint32_t id) noexcept {
  if (target.start < 0)
    target = {total, static_cast<std::int32_t>(start), id, std::numeric_limits<Sum>::infinity()};
  else if (total > target.score)
    target = {total, static_cast<std::int32_t>(start), id, total - target.score};
  else
    target.margin = std::min(target.margin, target.score - total);
}

template <typename Sum>
Sum score_of(const SentencePieceModel& m, const ByteTrie::Node& node) noexcept {
  if constexpr (sizeof(Sum) == sizeof(float))
    return std::bit_cast<float>(node.extra);
  else
    return m.unigram_score<double>(node.value);
}

template <typename Sum>
UnigramFound<Sum> search(const SentencePieceModel& m, Path<Sum>& path, const std::uint8_t* text, std::size_t size,
                         Sum& sum, std::uint32_t* out) {
  const Sum unk_score = m.unknown_score<Sum>();
  path.assign(size + 1, {sum, -1, m.unk_id, Sum{0}});
  for (std::size_t at = 0; at < size;) {
    const std::size_t step = char_bytes(text + at, text + size);
    if constexpr (sizeof(Sum) == sizeof(float))
      if (path[at].score < -unigram_lowest) rebase(path, at, m.longest);
    const Sum before = path[at].score;
    bool has_single = false;
    std::uint32_t base = m.trie().root();
    for (std::size_t k = at; k < size; ++k) {
      const ByteTrie::Node* node = m.trie().child(base, text[k]);
      if (node == nullptr) break;
      base = node->base;
      if (node->value == ByteTrie::none) continue;
      offer(path[k + 1], score_of<Sum>(m, *node) + before, at, node->value);
      has_single = has_single || k + 1 - at == step;
    }
    if (!has_single) offer(path[at + step], unk_score + before, at, m.unk_id);
    at += step;
  }
  sum = path[size].score;
  // From the end back: each piece's ids go into `out` from its last place on, then all of them to the front.
  UnigramFound<Sum> found{0, std::numeric_limits<Sum>::infinity(), true};
  std::size_t back = size, first = size;
  while (back > 0) {
    const Worker::Node<Sum>& node = path[back];
    const auto start = static_cast<std::size_t>(node.start);
    const bool is_unknown = node.id == m.unk_id, as_bytes = is_unknown && !m.byte_ids.empty();
    found.margin = std::min(found.margin, node.margin);
    found.is_known = found.is_known && !is_unknown;
    first -= as_bytes ? back - start : 1;
    emit_piece(m, node.id, text + start, back - start, out + first);
    back = start;
  }
  found.count = size - first;
  std::memmove(out, out + first, found.count * sizeof *out);
  return found;
}

}  // namespace

UnigramFound<float> unigram_search(const SentencePieceModel& m, Worker& w, const std::uint8_t* text, std::size_t size,
                                   float& sum, std::uint32_t* out) {
  return search<float>(m, w.path, text, size, sum, out);
}
UnigramFound<double> unigram_search(const SentencePieceModel& m, Worker& w, const std::uint8_t* text, std::size_t size,
                                    double& sum, std::uint32_t* out) {
  return search<double>(m, w.wide_path, text, size, sum, out);
}

}  // namespace fasttrain::tokenizer
