#pragma once
// Items that add to the same memory one after another, on several threads: each goes through the same steps, and does a
// step once the item before it has done so. Every sum keeps the order that one thread gives it; what runs at the same
// time are different steps of different items.

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/parallel.h"

namespace fasttrain {

class Turn {
 public:
  Turn() = default;  // of an item that waits for nobody and for whom nobody waits
  Turn(std::int32_t* before, std::int32_t* own) : before_(before), own_(own) {}

  bool is_alone() const noexcept { return own_ == nullptr; }
  void wait_for(std::int32_t step) noexcept {
    if (before_ == nullptr) return;
    const std::atomic_ref before(*before_);
    for (int tries = 0; known_ <= step; ++tries) {
      if (tries > spins) before.wait(known_, std::memory_order_acquire);  // the other thread may want this core
      known_ = before.load(std::memory_order_acquire);
    }
  }
  void done(std::int32_t step) noexcept {
    if (own_ == nullptr) return;
    const std::atomic_ref own(*own_);
    own.store(step + 1, std::memory_order_release);
    own.notify_all();
  }

 private:
  static constexpr int spins = 4096;  // a few microseconds, as a wake-up takes
  std::int32_t *before_ = nullptr, *own_ = nullptr, known_ = 0;
};

// body(group, item, turn) for `items` items of each of `groups` groups; those of one group keep their order. Items are
// handed out in order, so the earliest one at work never waits. `progress`: groups * items integers of scratch.
template <typename Body>
void ordered_for(std::size_t groups, std::size_t items, int threads, std::int32_t* progress, const Body& body) {
  const std::size_t all = groups * items;
  for (std::size_t i = 0; i < all; ++i) progress[i] = 0;
  std::atomic<std::size_t> next{0};
  parallel_for(static_cast<std::size_t>(threads), threads, [&](std::size_t) {
    for (std::size_t i = next.fetch_add(1); i < all; i = next.fetch_add(1)) {
      Turn turn(i % items == 0 ? nullptr : progress + i - 1, progress + i);
      body(i / items, i % items, turn);
    }
  });
}

}  // namespace fasttrain
