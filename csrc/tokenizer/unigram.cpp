#include "tokenizer/unigram.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "tokenizer/sentencepiece_stretches.h"
#include "tokenizer/sentencepiece_worker.h"

namespace fasttrain::tokenizer {

namespace {

using Worker = SentencePieceModel::Worker;
constexpr float lowest_sum = -100000.0F;

// Count on from zero: every sum that is open goes up by as much, so that float32 keeps its digits in long texts.
void rebase(std::vector<Worker::Node>& path, std::size_t at, std::size_t longest) noexcept {
  const float base = path[at].score;
  const std::size_t last = std::min(path.size() - 1, at + longest);
  for (std::size_t k = at; k <= last; ++k)
    if (k == at || path[k].start >= 0) path[k].score -= base;
}

void offer(Worker::Node& target, float total, std::size_t start, std::uint32_t id) noexcept {
  if (target.start < 0)
    target = {total, static_cast<std::int32_t>(start), id, std::numeric_limits<float>::infinity()};
  else if (total > target.score)
    target = {total, static_cast<std::int32_t>(start), id, total - target.score};
  else
    target.margin = std::min(target.margin, target.score - total);
}

struct Found {
  std::size_t count;  // ids
  float margin;       // least of the nodes on the best path: whether another one were better by rounding
  bool is_known;      // no unknown character is among them
};

// The best path through a stretch that begins with the sum `sum`, which becomes that at its end.
Found search(const SentencePieceModel& m, Worker& w, const std::uint8_t* text, std::size_t size, float& sum,
             std::uint32_t* out) {
  const float unk_score = m.min_score - SentencePieceModel::unk_penalty;
  w.path.assign(size + 1, {sum, -1, m.unk_id, 0.0F});
  for (std::size_t at = 0; at < size;) {
    const std::size_t step = char_bytes(text + at, text + size);
    if (w.path[at].score < lowest_sum) rebase(w.path, at, m.longest);
    const float before = w.path[at].score;
    bool has_single = false;
    std::uint32_t base = m.trie().root();
    for (std::size_t k = at; k < size; ++k) {
      const ByteTrie::Node* node = m.trie().child(base, text[k]);
      if (node == nullptr) break;
      base = node->base;
      if (node->value == ByteTrie::none) continue;
      offer(w.path[k + 1], std::bit_cast<float>(node->extra) + before, at, node->value);
      has_single = has_single || k + 1 - at == step;
    }
    if (!has_single) offer(w.path[at + step], unk_score + before, at, m.unk_id);
    at += step;
  }
  sum = w.path[size].score;
  // From the end back: each piece's ids go into `out` from its last place on, then all of them to the front.
  Found found{0, std::numeric_limits<float>::infinity(), true};
  std::size_t back = size, first = size;
  while (back > 0) {
    const Worker::Node& node = w.path[back];
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

// By how much rounding can move the difference of two sums in a stretch of so many bytes that begins with `sum`: each
// addition rounds by half a step of float32 at the magnitude of the sums, on both paths. Twice that, for certainty.
float uncertainty(const SentencePieceModel& m, std::size_t bytes, float sum) noexcept {
  const auto n = static_cast<float>(bytes + 1);
  return 2.0F * n * (std::abs(sum) + n * m.max_abs_score) * std::numeric_limits<float>::epsilon();
}

// A stretch, from the worker's memory where no rounding can turn what it found then. Its sum is added anew.
std::size_t answer(const SentencePieceModel& m, Worker& w, const Stretch& s, float& sum, std::uint32_t* out) {
  if (s.bytes > PieceCache::long_bytes) return search(m, w, s.at, s.bytes, sum, out).count;
  PieceCache& cache = w.cache();
  const float unsure = uncertainty(m, s.bytes, sum);
  const PieceCache::Entry* hit = s.find(cache);
  if (hit) {
    const std::uint32_t* numbers = s.numbers(cache, *hit);
    const bool may_rebase = sum - static_cast<float>(s.bytes) * m.max_abs_score <= lowest_sum;
    if (std::bit_cast<float>(numbers[0]) > unsure && !may_rebase) {
      for (std::size_t i = 1; i < hit->count; ++i) {
        out[i - 1] = numbers[i];
        sum = m.unigram_score(numbers[i]) + sum;
      }
      return hit->count - 1;
    }
  }
  const Found found = search(m, w, s.at, s.bytes, sum, out);
  const float margin = found.margin - unsure;
  if (!hit && found.is_known && margin > 0.0F && found.count < PieceCache::long_ids) {
    std::uint32_t numbers[PieceCache::long_ids];
    numbers[0] = std::bit_cast<std::uint32_t>(margin);
    std::copy_n(out, found.count, numbers + 1);
    cache.insert(s.key, s.hash, s.at, s.bytes, numbers, found.count + 1);
  }
  return found.count;
}

std::size_t encode(const SentencePieceModel& m, Worker& w, const std::uint8_t* at, const std::uint8_t* end,
                   std::uint32_t* out) {
  float sum = 0.0F;
  std::uint32_t* to = out;
  for_each_stretch(m, w.cache(), at, end, [&](const Stretch& s) { to += answer(m, w, s, sum, to); });
  return static_cast<std::size_t>(to - out);
}

}  // namespace

void unigram_scalar(const SentencePieceArgs& a) noexcept { encode_sentences(a, encode); }

std::span<const Impl<UnigramFn>> unigram_impls() {
  static constexpr std::array<Impl<UnigramFn>, 1> impls{{{"scalar", Isa::any, unigram_scalar}}};
  return impls;
}

}  // namespace fasttrain::tokenizer
