#pragma once /* part of bpe_encode */
// A table of megabytes that is read at random, on huge pages where the system has them: they spare most of the TLB
// misses, and must be asked for before the first touch.

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace fasttrain::tokenizer {

template <typename T>
class HugeArray {
 public:
  HugeArray() = default;
  // Every byte is `fill`.
  HugeArray(std::size_t size, int fill) : HugeArray(size) {
    std::memset(static_cast<void*>(data_.get()), fill, padded_bytes(size));
  }
  // Holds anything; pages that nobody writes cost an address only, where the system lends more of these than it has
  // memory. Raises std::bad_alloc.
  explicit HugeArray(std::size_t size) : size_(size) {
    const std::size_t bytes = padded_bytes(size), alignment = alignment_of(size);
    void* data = std::aligned_alloc(alignment, std::max(bytes, alignment));
    if (data == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (bytes >= huge_page) madvise(data, bytes, MADV_HUGEPAGE);
#endif
    data_.reset(static_cast<T*>(data));
  }
  T* get() noexcept { return data_.get(); }
  const T* get() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }

 private:
  static constexpr std::size_t huge_page = std::size_t{1} << 21;
  static std::size_t alignment_of(std::size_t size) noexcept { return size * sizeof(T) >= huge_page ? huge_page : 64; }
  static std::size_t padded_bytes(std::size_t size) noexcept {
    const std::size_t alignment = alignment_of(size);
    return (size * sizeof(T) + alignment - 1) / alignment * alignment;
  }
  struct Free {
    void operator()(T* p) const noexcept { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace fasttrain::tokenizer
