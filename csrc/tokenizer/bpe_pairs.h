#pragma once /* part of bpe_train */
// Pair of ids -> a 64-bit number, open-addressed: one cache line a look-up. Nothing is ever taken out.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace fasttrain::tokenizer {

inline std::uint64_t pair_of(std::uint32_t left, std::uint32_t right) noexcept {
  return std::uint64_t{left} << 32 | right;
}

class PairNumbers {
 public:
  explicit PairNumbers(std::size_t expected = 1 << 12) : slots_(expected * 2, Slot{empty, 0}) {}

  // The pair's number, 0 when it is new. The reference holds until the next call that may add.
  std::int64_t& operator[](std::uint64_t pair) {
    if (num_ * 3 >= slots_.size() * 2) grow();
    Slot& slot = slots_[find(pair)];
    num_ += slot.pair == empty;
    slot.pair = pair;
    return slot.value;
  }
  std::size_t size() const noexcept { return num_; }

 private:
  struct Slot {
    std::uint64_t pair;
    std::int64_t value;
  };
  static constexpr std::uint64_t empty = ~std::uint64_t{0};  // ids end before 2^32 - 1

  std::size_t find(std::uint64_t pair) const noexcept {
    // The high half of a product spreads over any number of slots, so the table need not double.
    const std::uint64_t mixed = (pair ^ pair >> 29) * 0x9E3779B97F4A7C15ULL;
    std::size_t i = static_cast<std::size_t>((static_cast<unsigned __int128>(mixed) * slots_.size()) >> 64);
    while (slots_[i].pair != pair && slots_[i].pair != empty) i = i + 1 == slots_.size() ? 0 : i + 1;
    return i;
  }
  void grow() {
    std::vector<Slot> old(slots_.size() + slots_.size() / 2, Slot{empty, 0});
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.pair != empty) slots_[find(slot.pair)] = slot;
  }

  std::vector<Slot> slots_;
  std::size_t num_ = 0;
};

}  // namespace fasttrain::tokenizer
