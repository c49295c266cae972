#include "core/arena.h"

#include <algorithm>
#include <cstdint>
#include <iterator>

#if defined(__unix__) || defined(__APPLE__)
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace fasttrain {
namespace {

constexpr std::size_t step = std::size_t{64} << 20;  // address space is made writable in such steps
constexpr std::size_t huge_page = std::size_t{2} << 20;

std::size_t rounded_up(std::size_t x, std::size_t unit) { return (x + unit - 1) / unit * unit; }

std::size_t memory_bytes() {
#if defined(_SC_PHYS_PAGES)
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  if (pages > 0 && page > 0) return static_cast<std::size_t>(pages) * static_cast<std::size_t>(page);
#endif
  return 0;
}

}  // namespace

Arena::Arena(std::size_t reserved_bytes) {
#if defined(__unix__) || defined(__APPLE__)
  const std::size_t bytes = rounded_up(reserved_bytes, step) + huge_page;
  void* space = mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (space == MAP_FAILED) return;
  reserved_ = bytes;
  base_ = static_cast<std::byte*>(space);
#endif
}

Arena::~Arena() {
#if defined(__unix__) || defined(__APPLE__)
  if (base_ != nullptr) munmap(base_, reserved_);
#endif
}

bool Arena::extend(std::size_t end) {
  if (end > reserved_) return false;
  if (end <= writable_) return true;
#if defined(__unix__) || defined(__APPLE__)
  const std::size_t to = std::min(rounded_up(end, step), reserved_);
  if (mprotect(base_ + writable_, to - writable_, PROT_READ | PROT_WRITE) != 0) return false;
#if defined(MADV_HUGEPAGE)
  madvise(base_ + writable_, to - writable_, MADV_HUGEPAGE);
#endif
  writable_ = to;
  return true;
#else
  return false;
#endif
}

void Arena::add_free(std::size_t offset, std::size_t size) {
  free_.emplace(offset, size);
  free_by_size_.emplace(size, offset);
}

void Arena::take_free(std::size_t offset, std::size_t size) {
  free_.erase(offset);
  free_by_size_.erase({size, offset});
}

void* Arena::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  if (bytes > reserved_) return nullptr;
  const std::size_t size = rounded_up(std::max(bytes, std::size_t{1}), granule);
  std::size_t offset = held_;
  if (const auto fit = free_by_size_.lower_bound({size, 0}); fit != free_by_size_.end()) {
    const std::size_t found = fit->first;
    offset = fit->second;
    take_free(offset, found);
    if (found > size) add_free(offset + size, found - size);
  } else {
    const auto last = free_.empty() ? free_.end() : std::prev(free_.end());
    const bool grows = last != free_.end() && last->first + last->second == held_;
    if (grows) offset = last->first;
    if (!extend(offset + size)) return nullptr;
    if (grows) take_free(offset, held_ - offset);
    held_ = offset + size;
  }
  used_.emplace(offset, size);
  used_bytes_ += size;
  return base_ + offset;
}

void Arena::free(void* block) noexcept {
  const std::lock_guard lock(mutex_);
  const auto found = used_.find(static_cast<std::size_t>(static_cast<std::byte*>(block) - base_));
  std::size_t offset = found->first, size = found->second;
  used_.erase(found);
  used_bytes_ -= size;
  const auto next = free_.lower_bound(offset);
  if (next != free_.begin()) {
    const auto [before, length] = *std::prev(next);
    if (before + length == offset) {
      take_free(before, length);
      offset = before, size += length;
    }
  }
  if (const auto after = free_.find(offset + size); after != free_.end()) {
    const std::size_t length = after->second;
    take_free(offset + size, length);
    size += length;
  }
  add_free(offset, size);
}

void Arena::trim([[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__)
  const std::lock_guard lock(mutex_);
  const auto address = reinterpret_cast<std::uintptr_t>(base_);
  std::size_t given = 0;
  for (auto block = free_by_size_.rbegin(); block != free_by_size_.rend() && given < bytes; ++block) {
    const std::uintptr_t begin = rounded_up(address + block->second, huge_page);  // whole huge pages: none is split
    const std::uintptr_t end = (address + block->second + block->first) / huge_page * huge_page;
    if (begin >= end) continue;
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
    given += end - begin;
  }
#endif
}

std::size_t Arena::used_bytes() const {
  const std::lock_guard lock(mutex_);
  return used_bytes_;
}

std::size_t Arena::held_bytes() const {
  const std::lock_guard lock(mutex_);
  return held_;
}

Arena& arena() {
  static Arena* const whole = new Arena(memory_bytes());
  return *whole;
}

}  // namespace fasttrain
