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
  HugeArray(std::size_t size, int fill) : size_(size) {
    constexpr std::size_t huge_page = std::size_t{1} << 21;
    const std::size_t alignment = size * sizeof(T) >= huge_page ? huge_page : 64;
    const std::size_t bytes = (size * sizeof(T) + alignment - 1) / alignment * alignment;
    void* data = std::aligned_alloc(alignment, std::max(bytes, alignment));
    if (data == nullptr) throw std::bad_alloc();
#if defined(__linux__)
    if (bytes >= huge_page) madvise(data, bytes, MADV_HUGEPAGE);
#endif
    std::memset(data, fill, bytes);
    data_.reset(static_cast<T*>(data));
  }
  T* get() noexcept { return data_.get(); }
  const T* get() const noexcept { return data_.get(); }
  std::size_t size() const noexcept { return size_; }

 private:
  struct Free {
    void operator()(T* p) const noexcept { std::free(p); }
  };
  std::unique_ptr<T, Free> data_;
  std::size_t size_ = 0;
};

}  // namespace fasttrain::tokenizer
