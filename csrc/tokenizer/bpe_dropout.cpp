#include "tokenizer/bpe_dropout.h"

#include <algorithm>
#include <array>
#include <functional>

#include "tokenizer/scan_scalar.h"

namespace fasttrain::tokenizer {
namespace {

// The finaliser of splitmix64 (Steele et al. 2014).
std::uint64_t mix(std::uint64_t x) noexcept {
  x += 0x9E3779B97F4A7C15ULL;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

// Which merges of one text are dropped.
struct Draw {
  std::uint64_t key, threshold;
  bool drops(std::uint64_t byte, std::uint64_t step) const noexcept {
    return mix(mix(key + byte) + step) >> 11 < threshold;
  }
};

// bpe_model.cpp's merge of long pieces; merges that a step drops are put back for the next one. `at`: the piece's first
// byte in its text.
std::size_t merge(const BpeModel& m, const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                  BpeModel::Worker& w, const Draw& draw, std::uint64_t at) {
  constexpr std::uint32_t none = 0xFFFFFFFF;
  const std::greater<> later;
  const auto n = static_cast<std::uint32_t>(bytes);
  w.ids.resize(n);
  w.ranks.assign(n, no_rank);
  w.prev.resize(n);
  w.next.resize(n);
  w.heap.clear();
  std::vector<std::uint64_t> dropped;
  const auto push = [&](std::uint64_t candidate) {
    w.heap.push_back(candidate);
    std::push_heap(w.heap.begin(), w.heap.end(), later);
  };
  const auto rerank = [&](std::uint32_t i) {
    w.ranks[i] = w.next[i] == none ? no_rank : m.table().rank(w.ids[i], w.ids[w.next[i]]);
    if (w.ranks[i] != no_rank) push(std::uint64_t{w.ranks[i]} << 32 | i);
  };
  for (std::uint32_t i = 0; i < n; ++i) {
    w.ids[i] = m.byte_ids()[piece[i]];
    w.prev[i] = i == 0 ? none : i - 1;
    w.next[i] = i + 1 == n ? none : i + 1;
  }
  for (std::uint32_t i = 0; i < n; ++i) rerank(i);
  for (std::uint64_t step = 0; !w.heap.empty();) {
    std::pop_heap(w.heap.begin(), w.heap.end(), later);
    const std::uint64_t top = w.heap.back();
    w.heap.pop_back();
    const auto i = static_cast<std::uint32_t>(top);
    if (w.ranks[i] != top >> 32) continue;  // merged away or changed since
    if (draw.drops(at + i, step)) {
      dropped.push_back(top);
      continue;
    }
    ++step;
    const std::uint32_t right = w.next[i];
    w.ids[i] = m.id_of_rank(w.ranks[i]);
    w.next[i] = w.next[right];
    if (w.next[i] != none) w.prev[w.next[i]] = i;
    w.ranks[right] = no_rank;
    for (const std::uint64_t candidate : dropped) push(candidate);
    dropped.clear();
    rerank(i);
    if (w.prev[i] != none) rerank(w.prev[i]);
  }
  std::size_t count = 0;
  for (std::uint32_t i = 0; i != none; i = w.next[i]) out[count++] = w.ids[i];
  return count;
}

// A text, or what lies between two added tokens of one; encode_texts gives no number, so the place says which text.
std::size_t encode_text(const BpeEncodeArgs& base, BpeModel::Worker& w, const std::uint8_t* p, const std::uint8_t* end,
                        std::uint32_t* out) {
  if (p == end) return 0;
  const auto& a = static_cast<const BpeDropoutArgs&>(base);  // of bpe_dropout_scalar below
  const std::int64_t* text = std::upper_bound(a.offsets, a.offsets + a.N + 1, p - a.data) - 1;
  const auto n = static_cast<std::size_t>(text - a.offsets);
  const std::uint64_t number = a.first_text + (a.numbers ? a.numbers[n] : n), before = a.begins ? a.begins[n] : 0;
  const Draw draw{mix(mix(a.seed) + number), a.threshold};
  const Pattern pattern = Pattern::number(a.model->pattern());
  std::size_t count = 0;
  while (p < end) {
    const std::uint8_t* stop = scalar::next_piece(unicode_classes(), pattern, p, end);
    count += merge(*a.model, p, static_cast<std::size_t>(stop - p), out + count, w, draw,
                   before + static_cast<std::uint64_t>(p - a.data - *text));
    p = stop;
  }
  return count;
}

}  // namespace

void bpe_dropout_scalar(const BpeDropoutArgs& a) noexcept { encode_texts(a, encode_text); }

std::span<const Impl<BpeDropoutFn>> bpe_dropout_impls() {
  static constexpr std::array<Impl<BpeDropoutFn>, 1> impls{{{"scalar", Isa::any, bpe_dropout_scalar}}};
  return impls;
}

}  // namespace fasttrain::tokenizer
