#pragma once /* part of bpe_train */
// Lists of words, in blocks that never move: a list's length, then its words. A list of one word is its own reference.
// The space of lists that were used is used again, so memory follows the lists that are alive.

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace fasttrain::tokenizer {

class PlaceLists {
 public:
  static std::uint64_t one(std::uint32_t word) noexcept { return single | word; }

  // A list of n words, to be filled in through `words`.
  std::uint64_t make(std::uint32_t n) {
    auto& free = free_[static_cast<std::size_t>(std::bit_width(n))];
    std::uint64_t list;
    if (free.empty()) {
      // Rounded up so that any list of this class of sizes fits here later; big ones are few and stay exact.
      list = cut(std::size_t{1} + (n < exact ? std::bit_ceil(n + 1) - 1 : n));
    } else {
      list = free.back();
      free.pop_back();
    }
    *length(list) = n;
    return list;
  }
  std::uint32_t* words(std::uint64_t list) noexcept { return length(list) + 1; }

  // Both lists as one; a word may be in it twice.
  std::uint64_t join(std::uint64_t a, std::uint64_t b) {
    std::vector<std::uint32_t> both;
    take(a, [&](std::uint32_t w) { both.push_back(w); });
    take(b, [&](std::uint32_t w) { both.push_back(w); });
    const std::uint64_t list = make(static_cast<std::uint32_t>(both.size()));
    std::copy(both.begin(), both.end(), words(list));
    return list;
  }

  // Calls with every word of the list, and takes its space back.
  template <typename Body>
  void take(std::uint64_t list, const Body& body) {
    if (list & single) return body(static_cast<std::uint32_t>(list));
    const std::uint32_t n = *length(list);
    const std::uint32_t* begin = words(list);
    for (std::uint32_t i = 0; i < n; ++i) body(begin[i]);
    drop(list);
  }
  void drop(std::uint64_t list) {
    if (list & single) return;
    const std::uint32_t n = *length(list);
    if (n < exact)
      free_[static_cast<std::size_t>(std::bit_width(n))].push_back(list);
    else
      regions_.push_back({list, std::size_t{1} + n});
  }

 private:
  struct Region {
    std::uint64_t start;
    std::size_t size;
  };
  static constexpr std::uint64_t single = std::uint64_t{1} << 63;
  static constexpr std::uint32_t exact = 1 << 10;
  static constexpr std::size_t block = 1 << 18;

  std::uint32_t* length(std::uint64_t list) noexcept { return blocks_[list >> 32].data() + (list & 0xFFFFFFFF); }

  // Room for `size` numbers, from the region in use, another one that was given back, or a new block.
  std::uint64_t cut(std::size_t size) {
    while (region_.size < size && size <= exact && !regions_.empty()) {
      region_ = regions_.back();
      regions_.pop_back();
    }
    if (region_.size < size) {
      blocks_.emplace_back(std::max(size, block));
      const Region fresh{std::uint64_t{blocks_.size() - 1} << 32, blocks_.back().size()};
      if (region_.size > exact) regions_.push_back(region_);
      region_ = fresh;
    }
    const std::uint64_t start = region_.start;
    region_ = {start + size, region_.size - size};
    return start;
  }

  std::vector<std::vector<std::uint32_t>> blocks_;
  std::vector<Region> regions_;
  Region region_{0, 0};
  std::array<std::vector<std::uint64_t>, 33> free_;
};

}  // namespace fasttrain::tokenizer
