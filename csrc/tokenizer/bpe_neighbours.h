#pragma once /* part of bpe_train */
// The pairs that one merge forms on one side, by the neighbour there.
//
// Each occurrence takes `count` from the pair of the neighbour and the merged part and gives it to the pair of the
// neighbour and the new token. One sum serves both, and the big table of pairs is asked once a neighbour instead of
// four times an occurrence: half the time of learning.

#include <cstddef>
#include <cstdint>
#include <vector>

#include "tokenizer/bpe_places.h"

namespace fasttrain::tokenizer {

class Neighbours {
 public:
  struct Sum {
    std::int64_t count;
    std::uint32_t num_words;  // 0: not a neighbour
    std::uint32_t last_word;  // words come in turn, so a word that repeats is the last one
  };

  void reserve(std::size_t num_ids) { sums_.resize(num_ids, Sum{0, 0, 0}); }
  void add(std::uint32_t id, std::int64_t count, std::uint32_t word) {
    Sum& sum = sums_[id];
    sum.count += count;
    if (sum.num_words == 0)
      touched_.push_back(id);
    else if (sum.last_word == word)
      return;
    ++sum.num_words;
    sum.last_word = word;
    records_.push_back({id, word});
  }
  const std::vector<std::uint32_t>& ids() const noexcept { return touched_; }
  const Sum& operator[](std::uint32_t id) const noexcept { return sums_[id]; }

  // Make the list of each neighbour's words; list(id) is known from here on, count no more.
  void make_lists(PlaceLists& places) {
    for (const std::uint32_t id : touched_) {
      Sum& sum = sums_[id];
      sum.count = static_cast<std::int64_t>(sum.num_words == 1 ? PlaceLists::one(sum.last_word)
                                                               : places.make(sum.num_words));
      sum.last_word = 0;
    }
    for (const Record& r : records_)
      if (Sum& sum = sums_[r.id]; sum.num_words > 1) places.words(list(r.id))[sum.last_word++] = r.word;
  }
  std::uint64_t list(std::uint32_t id) const noexcept { return static_cast<std::uint64_t>(sums_[id].count); }

  void clear() {
    for (const std::uint32_t id : touched_) sums_[id] = Sum{0, 0, 0};
    touched_.clear();
    records_.clear();
  }

 private:
  struct Record {
    std::uint32_t id, word;
  };
  std::vector<Sum> sums_;  // by id
  std::vector<std::uint32_t> touched_;
  std::vector<Record> records_;
};

}  // namespace fasttrain::tokenizer
