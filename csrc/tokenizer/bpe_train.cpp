#include "tokenizer/bpe_train.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <vector>

namespace fasttrain::tokenizer {
namespace {

constexpr std::uint32_t none = 0xFFFFFFFF;

std::uint64_t pair_of(std::uint32_t left, std::uint32_t right) noexcept { return std::uint64_t{left} << 32 | right; }

// Pair -> its number; count and list of new places by number.
class Pairs {
 public:
  std::vector<std::int64_t> count;
  std::vector<std::uint32_t> pending;  // list of places that is being filled; none: there is no such list
  std::vector<std::uint64_t> pair;

  Pairs() : slots_(1 << 16, none) {}

  std::uint32_t number(std::uint64_t p) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = slot(p) & mask;
    while (slots_[i] != none) {
      if (pair[slots_[i]] == p) return slots_[i];
      i = (i + 1) & mask;
    }
    const auto n = static_cast<std::uint32_t>(pair.size());
    slots_[i] = n;
    pair.push_back(p);
    count.push_back(0);
    pending.push_back(none);
    if (pair.size() * 2 > slots_.size()) grow();
    return n;
  }

 private:
  static std::size_t slot(std::uint64_t p) noexcept {
    p *= 0x9E3779B97F4A7C15ULL;
    return p >> 24;
  }
  void grow() {
    slots_.assign(slots_.size() * 2, none);
    const std::size_t mask = slots_.size() - 1;
    for (std::uint32_t n = 0; n < pair.size(); ++n) {
      std::size_t i = slot(pair[n]) & mask;
      while (slots_[i] != none) i = (i + 1) & mask;
      slots_[i] = n;
    }
  }
  std::vector<std::uint32_t> slots_;
};

struct Candidate {
  std::int64_t count;
  std::uint64_t pair;
  std::uint32_t number, places;
};

// Heap order: the highest count on top, of equals the smallest pair.
bool is_below(const Candidate& a, const Candidate& b) noexcept {
  return a.count != b.count ? a.count < b.count : a.pair > b.pair;
}

class Trainer {
 public:
  explicit Trainer(const BpeTrainArgs& a) : a_(a) {
    for (std::size_t k = 0; k < a.K; ++k) {
      const auto* begin = reinterpret_cast<const char*>(a.token_data) + a.token_offsets[k];
      tokens_.emplace_back(begin, static_cast<std::size_t>(a.token_offsets[k + 1] - a.token_offsets[k]));
      if (!tokens_.back().empty()) id_of_.emplace(tokens_.back(), static_cast<std::uint32_t>(k));
    }
    symbols_.resize(static_cast<std::size_t>(a.word_offsets[a.W] - a.word_offsets[0]));
    lengths_.resize(a.W);
    for (std::size_t w = 0; w < a.W; ++w) {
      std::uint32_t* s = word(w);
      lengths_[w] = static_cast<std::uint32_t>(a.word_offsets[w + 1] - a.word_offsets[w]);
      for (std::uint32_t i = 0; i < lengths_[w]; ++i) s[i] = a.byte_ids[a.word_data[a.word_offsets[w] + i]];
      for (std::uint32_t i = 0; i + 1 < lengths_[w]; ++i)
        add(s[i], s[i + 1], a.word_counts[w], static_cast<std::uint32_t>(w));
    }
    push_touched();
  }

  std::int64_t run() {
    std::size_t num_merges = 0;
    while (tokens_.size() < a_.vocab_size && !heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end(), is_below);
      Candidate top = heap_.back();
      heap_.pop_back();
      if (top.count != pairs_.count[top.number]) {  // it fell since it was pushed: put it where it belongs now
        top.count = pairs_.count[top.number];
        heap_.push_back(top);
        std::push_heap(heap_.begin(), heap_.end(), is_below);
        continue;
      }
      if (top.count < 1 || top.count < a_.min_frequency) break;
      if (num_merges == a_.capacity) return -1;
      const auto left = static_cast<std::uint32_t>(top.pair >> 32), right = static_cast<std::uint32_t>(top.pair);
      const std::uint32_t merged = token(tokens_[left] + tokens_[right]);
      a_.pairs[2 * num_merges] = left;
      a_.pairs[2 * num_merges + 1] = right;
      a_.ids[num_merges++] = merged;
      std::vector<std::uint32_t> places;
      places.swap(places_[top.places]);
      free_.push_back(top.places);
      for (const std::uint32_t w : places) merge(w, left, right, merged);
      push_touched();
    }
    return static_cast<std::int64_t>(num_merges);
  }

 private:
  std::uint32_t* word(std::size_t w) noexcept { return symbols_.data() + (a_.word_offsets[w] - a_.word_offsets[0]); }

  std::uint32_t token(std::string&& bytes) {
    const auto [it, is_new] = id_of_.emplace(std::move(bytes), static_cast<std::uint32_t>(tokens_.size()));
    if (is_new) tokens_.push_back(it->first);
    return it->second;
  }

  // `count` more of the pair, in word w (words come in turn, so a repeated w is the list's last).
  void add(std::uint32_t left, std::uint32_t right, std::int64_t count, std::uint32_t w) {
    const std::uint32_t n = pairs_.number(pair_of(left, right));
    pairs_.count[n] += count;
    if (pairs_.pending[n] == none) {
      if (free_.empty()) {
        free_.push_back(static_cast<std::uint32_t>(places_.size()));
        places_.emplace_back();
      }
      pairs_.pending[n] = free_.back();
      free_.pop_back();
      touched_.push_back(n);
    }
    auto& places = places_[pairs_.pending[n]];
    if (places.empty() || places.back() != w) places.push_back(w);
  }

  void remove(std::uint32_t left, std::uint32_t right, std::int64_t count) {
    pairs_.count[pairs_.number(pair_of(left, right))] -= count;
  }

  void merge(std::uint32_t w, std::uint32_t left, std::uint32_t right, std::uint32_t merged) {
    std::uint32_t* s = word(w);
    const std::uint32_t length = lengths_[w];
    const std::int64_t count = a_.word_counts[w];
    std::uint32_t to = 0;
    for (std::uint32_t from = 0; from < length;) {
      if (s[from] != left || from + 1 == length || s[from + 1] != right) {
        s[to++] = s[from++];
        continue;
      }
      if (to > 0) {
        remove(s[to - 1], left, count);
        add(s[to - 1], merged, count, w);
      }
      s[to++] = merged;
      from += 2;
      if (from < length) {
        remove(right, s[from], count);
        add(merged, s[from], count, w);
      }
    }
    lengths_[w] = to;
  }

  void push_touched() {
    for (const std::uint32_t n : touched_) {
      const std::uint32_t places = pairs_.pending[n];
      pairs_.pending[n] = none;
      if (pairs_.count[n] > 0) {
        heap_.push_back({pairs_.count[n], pairs_.pair[n], n, places});
        std::push_heap(heap_.begin(), heap_.end(), is_below);
      } else {
        places_[places].clear();
        free_.push_back(places);
      }
    }
    touched_.clear();
  }

  const BpeTrainArgs& a_;
  std::vector<std::string> tokens_;
  std::unordered_map<std::string, std::uint32_t> id_of_;
  std::vector<std::uint32_t> symbols_, lengths_;  // of all words
  Pairs pairs_;
  std::vector<std::vector<std::uint32_t>> places_;  // words in which a candidate's pair was formed
  std::vector<std::uint32_t> free_, touched_;
  std::vector<Candidate> heap_;
};

}  // namespace

std::int64_t bpe_train_scalar(const BpeTrainArgs& a) noexcept { return Trainer(a).run(); }

std::span<const Impl<BpeTrainImpl>> bpe_train_impls() {
#if defined(__x86_64__)
  static constexpr std::array<Impl<BpeTrainImpl>, 2> impls{
      {{"avx2", Isa::avx2, {count_words_avx2, bpe_train_scalar}},
       {"scalar", Isa::any, {count_words_scalar, bpe_train_scalar}}}};
#else
  static constexpr std::array<Impl<BpeTrainImpl>, 1> impls{
      {{"scalar", Isa::any, {count_words_scalar, bpe_train_scalar}}}};
#endif
  return impls;
}

}  // namespace fasttrain::tokenizer
