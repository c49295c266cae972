#pragma once /* part of bpe_train */
// Candidates in the order of merging: the highest count first, of equals the smallest pair.
//
// Most candidates never come up: only those with a count of at least `threshold_` are in the heap, the others lie
// unsorted until the heap is empty, and then the better ones move. The order is the same as that of one heap.

#include <algorithm>
#include <cstdint>
#include <vector>

namespace fasttrain::tokenizer {

struct Candidate {
  std::int64_t count;    // when it was pushed
  std::uint64_t pair;
  std::uint64_t places;  // where the list of the words in which the pair was formed begins (bpe_places.h)
};

class CandidateQueue {
 public:
  bool empty() const noexcept { return heap_.empty() && later_.empty(); }

  void push(const Candidate& c) {
    if (c.count < threshold_) {
      later_.push_back(c);
      return;
    }
    heap_.push_back(c);
    std::push_heap(heap_.begin(), heap_.end(), is_below);
  }

  Candidate pop() {
    if (heap_.empty()) refill();
    std::pop_heap(heap_.begin(), heap_.end(), is_below);
    const Candidate top = heap_.back();
    heap_.pop_back();
    return top;
  }

 private:
  static bool is_below(const Candidate& a, const Candidate& b) noexcept {
    return a.count != b.count ? a.count < b.count : a.pair > b.pair;
  }

  void refill() {
    const auto best = std::max_element(later_.begin(), later_.end(),
                                       [](const Candidate& a, const Candidate& b) { return a.count < b.count; });
    threshold_ = best->count - best->count / 4;
    const auto kept =
        std::partition(later_.begin(), later_.end(), [this](const Candidate& c) { return c.count < threshold_; });
    heap_.assign(kept, later_.end());
    later_.erase(kept, later_.end());
    std::make_heap(heap_.begin(), heap_.end(), is_below);
  }

  std::vector<Candidate> heap_, later_;
  std::int64_t threshold_ = INT64_MAX;
};

}  // namespace fasttrain::tokenizer
