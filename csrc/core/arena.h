#pragma once
// Memory for large blocks that come and go in the same sizes: activations and gradients.
//
// Best fit with neighbours joined, in one reservation of address space whose pages stay once touched, on huge pages where
// the system has them. Blocks begin at multiples of `granule`, so that a hole fits the next block of its size exactly:
// glibc's posix_memalign (2.36) asks for the alignment beside the size, finds no hole of the size itself large enough, and
// a training step's heap grows by a third over what is in use.

#include <cstddef>
#include <map>
#include <mutex>
#include <set>
#include <utility>

namespace fasttrain {

class Arena {
 public:
  static constexpr std::size_t granule = 4096;

  explicit Arena(std::size_t reserved_bytes);  // of address space; 0 bytes, and so no room, where there is none
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  ~Arena();

  void* allocate(std::size_t bytes);  // nullptr: no room
  void free(void* block) noexcept;    // what `allocate` has given, once

  // Give the system pages of free blocks, the largest first, until they are `bytes` together.
  void trim(std::size_t bytes) noexcept;

  std::size_t used_bytes() const;  // in blocks, rounded up to granules
  std::size_t held_bytes() const;  // up to the end of the highest block there has been

 private:
  bool extend(std::size_t end);
  void add_free(std::size_t offset, std::size_t size);
  void take_free(std::size_t offset, std::size_t size);

  mutable std::mutex mutex_;
  std::byte* base_ = nullptr;
  std::size_t reserved_ = 0, writable_ = 0, held_ = 0, used_bytes_ = 0;
  std::map<std::size_t, std::size_t> free_;                      // offset -> size; no two touch
  std::set<std::pair<std::size_t, std::size_t>> free_by_size_;  // (size, offset)
  std::map<std::size_t, std::size_t> used_;                      // offset -> size
};

// The process's own, as large as the machine's memory; never destroyed, because tensors may outlive everything.
Arena& arena();

}  // namespace fasttrain
