#include "tokenizer/bpe_train.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokenizer/bpe_neighbours.h"
#include "tokenizer/bpe_pairs.h"
#include "tokenizer/bpe_places.h"
#include "tokenizer/bpe_queue.h"

namespace fasttrain::tokenizer {
namespace {

class Trainer {
 public:
  explicit Trainer(const BpeTrainArgs& a) : a_(a), num_tokens_(a.K) {
    if (a.reuses_ids)
      for (std::size_t k = 0; k < a.K; ++k) {
        const auto* begin = reinterpret_cast<const char*>(a.token_data) + a.token_offsets[k];
        tokens_.emplace_back(begin, static_cast<std::size_t>(a.token_offsets[k + 1] - a.token_offsets[k]));
        if (!tokens_.back().empty()) id_of_.emplace(tokens_.back(), static_cast<std::uint32_t>(k));
      }
    if (a.token_sizes) sizes_.assign(a.token_sizes, a.token_sizes + a.K);
    lengths_.resize(a.W);
    for (std::size_t w = 0; w < a.W; ++w)
      lengths_[w] = static_cast<std::uint32_t>(a.word_offsets[w + 1] - a.word_offsets[w]);
    for (std::size_t w = 0; w < a.W; ++w)
      for (std::size_t g = 0; g < a.G && lengths_[w] > 1; ++g)
        merge(w, a.given + 3 * g, [](std::uint32_t) {}, [](std::uint32_t) {});
    const std::size_t num_ids = std::max(a.vocab_size, a.K);
    before_.reserve(num_ids);
    after_.reserve(num_ids);
    count_pairs();
  }

  std::int64_t run() {
    std::size_t num_merges = 0;
    while (num_tokens_ < a_.vocab_size && !queue_.empty()) {
      Candidate top = queue_.pop();
      const std::int64_t count = counts_[top.pair];
      if (top.count != count) {  // it changed since it was pushed: put it where it belongs now
        top.count = count;
        queue_.push(top);
        continue;
      }
      if (count < 1 || count < a_.min_frequency) break;
      if (num_merges == a_.capacity) return -1;
      const auto left = static_cast<std::uint32_t>(top.pair >> 32), right = static_cast<std::uint32_t>(top.pair);
      const std::uint32_t rule[] = {left, right, token(left, right)};
      a_.pairs[2 * num_merges] = left;
      a_.pairs[2 * num_merges + 1] = right;
      a_.ids[num_merges++] = rule[2];
      places_.take(top.places, [&](std::uint32_t w) {
        const std::int64_t times = a_.word_counts[w];
        merge(w, rule, [&](std::uint32_t id) { before_.add(id, times, w); },
              [&](std::uint32_t id) { after_.add(id, times, w); });
      });
      push_formed(left, right, rule[2]);
    }
    return static_cast<std::int64_t>(num_merges);
  }

 private:
  std::uint32_t* word(std::size_t w) noexcept { return a_.symbols + (a_.word_offsets[w] - a_.word_offsets[0]); }

  std::uint32_t token(std::uint32_t left, std::uint32_t right) {
    const auto size = [&] { return sizes_[left] + sizes_[right]; };
    if (!a_.reuses_ids) {
      if (a_.token_sizes) sizes_.push_back(size());
      return static_cast<std::uint32_t>(num_tokens_++);
    }
    const auto [it, is_new] = id_of_.emplace(tokens_[left] + tokens_[right], static_cast<std::uint32_t>(num_tokens_));
    if (is_new) {
      tokens_.push_back(it->first);
      if (a_.token_sizes) sizes_.push_back(size());
      ++num_tokens_;
    }
    return it->second;
  }

  // All pairs of the words, their counts and their lists: one pass counts, one fills the lists.
  void count_pairs() {
    struct First {
      std::uint64_t pair;
      std::int64_t count;
      std::uint64_t list;
      std::uint32_t num_words, last_word;
    };
    std::vector<First> firsts;
    PairNumbers numbers;
    const auto each_pair = [&](const auto& body) {
      for (std::size_t w = 0; w < a_.W; ++w)
        for (std::uint32_t i = 0; i + 1 < lengths_[w]; ++i)
          body(pair_of(word(w)[i], word(w)[i + 1]), static_cast<std::uint32_t>(w));
    };
    each_pair([&](std::uint64_t pair, std::uint32_t w) {
      std::int64_t& number = numbers[pair];
      if (number == 0) {
        firsts.push_back({pair, 0, 0, 0, 0});
        number = static_cast<std::int64_t>(firsts.size());
      }
      First& first = firsts[static_cast<std::size_t>(number - 1)];
      first.count += a_.word_counts[w];
      if (first.num_words != 0 && first.last_word == w) return;
      ++first.num_words;
      first.last_word = w;
    });
    for (First& first : firsts) {
      counts_[first.pair] = first.count;
      first.list = first.num_words == 1 ? PlaceLists::one(first.last_word) : places_.make(first.num_words);
      if (is_allowed(first.pair)) queue_.push({first.count, first.pair, first.list});
      first.last_word = 0;
    }
    each_pair([&](std::uint64_t pair, std::uint32_t w) {
      First& first = firsts[static_cast<std::size_t>(numbers[pair] - 1)];
      if (first.num_words == 1) return;
      std::uint32_t* words = places_.words(first.list);
      if (first.last_word == 0 || words[first.last_word - 1] != w) words[first.last_word++] = w;
    });
  }

  // Merge {left, right, result} in word w; tells the symbol before and the one after each new token.
  template <typename Before, typename After>
  void merge(std::size_t w, const std::uint32_t* rule, const Before& before, const After& after) {
    std::uint32_t* s = word(w);
    const std::uint32_t length = lengths_[w], left = rule[0], right = rule[1], merged = rule[2];
    std::uint32_t to = 0;
    for (std::uint32_t from = 0; from < length;) {
      if (s[from] != left || from + 1 == length || s[from + 1] != right) {
        s[to++] = s[from++];
        continue;
      }
      if (to > 0) before(s[to - 1]);
      s[to++] = merged;
      from += 2;
      if (from < length) after(s[from]);
    }
    lengths_[w] = to;
  }

  void push_formed(std::uint32_t left, std::uint32_t right, std::uint32_t merged) {
    for (const std::uint32_t id : before_.ids()) {
      counts_[pair_of(id, left)] -= before_[id].count;
      counts_[pair_of(id, merged)] += before_[id].count;
    }
    for (const std::uint32_t id : after_.ids()) {
      counts_[pair_of(right, id)] -= after_[id].count;
      counts_[pair_of(merged, id)] += after_[id].count;
    }
    before_.make_lists(places_);
    after_.make_lists(places_);
    // (merged, merged) may come from both sides, when `merged` was a token before: it is one candidate.
    const bool is_shared = before_[merged].num_words != 0 && after_[merged].num_words != 0;
    for (const std::uint32_t id : before_.ids())
      push(pair_of(id, merged), is_shared && id == merged ? places_.join(before_.list(id), after_.list(id))
                                                          : before_.list(id));
    for (const std::uint32_t id : after_.ids())
      if (!is_shared || id != merged) push(pair_of(merged, id), after_.list(id));
    before_.clear();
    after_.clear();
  }

  bool is_allowed(std::uint64_t pair) const noexcept {
    return !a_.token_sizes || std::uint64_t{sizes_[pair >> 32]} + sizes_[pair & 0xFFFFFFFF] <= a_.max_size;
  }

  void push(std::uint64_t pair, std::uint64_t list) {
    if (const std::int64_t count = counts_[pair]; count > 0 && is_allowed(pair))
      queue_.push({count, pair, list});
    else
      places_.drop(list);
  }

  const BpeTrainArgs& a_;
  std::size_t num_tokens_;
  std::vector<std::string> tokens_;  // only when ids are used again
  std::unordered_map<std::string, std::uint32_t> id_of_;
  std::vector<std::uint32_t> lengths_;  // of the words, in symbols
  std::vector<std::uint32_t> sizes_;    // of the tokens, when they are bounded
  PairNumbers counts_;
  PlaceLists places_;
  CandidateQueue queue_;
  Neighbours before_, after_;
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
