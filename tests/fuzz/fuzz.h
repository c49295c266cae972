#pragma once
// What the fuzz targets share. A target is one fuzz_<op>.cpp with LLVMFuzzerTestOneInput: tools/fuzz.sh links it with
// libFuzzer, the build of tools/test_native.sh with replay.cpp, which runs the kept inputs of corpus/<op>/.

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "core/impl.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace fasttrain::fuzz {

// A broken property ends the process as a crash does, so that the fuzzer keeps the input.
#define FUZZ_REQUIRE(condition)                                              \
  do {                                                                       \
    if (!(condition)) {                                                      \
      std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
      std::abort();                                                          \
    }                                                                        \
  } while (false)

// N texts in one heap block of exactly their size: ASan sees a read of one byte past it.
struct Texts {
  std::vector<std::uint8_t> data;
  std::vector<std::int64_t> offsets{0};
  std::size_t N() const { return offsets.size() - 1; }
  std::size_t bytes(std::size_t n) const { return static_cast<std::size_t>(offsets[n + 1] - offsets[n]); }
};

// Parameters from the front of an input, texts from what is left.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), size_(size) {}

  template <typename T = std::uint8_t>
  T take() {  // 0 behind the end
    T value{};
    const std::size_t n = sizeof(T) < size_ ? sizeof(T) : size_;
    if (n > 0) std::memcpy(&value, data_, n);
    data_ += n, size_ -= n;
    return value;
  }
  std::vector<std::uint8_t> bytes() const { return size_ == 0 ? std::vector<std::uint8_t>{} : std::vector<std::uint8_t>(data_, data_ + size_); }

  // The rest, cut at bytes 0x1E (record separator).
  Texts texts() const {
    Texts found;
    std::size_t count = 0;
    for (std::size_t i = 0; i < size_; ++i) count += data_[i] != 0x1E;
    found.data.reserve(count);
    for (std::size_t i = 0; i < size_; ++i) {
      if (data_[i] == 0x1E) {
        found.offsets.push_back(static_cast<std::int64_t>(found.data.size()));
      } else {
        found.data.push_back(data_[i]);
      }
    }
    found.offsets.push_back(static_cast<std::int64_t>(found.data.size()));
    return found;
  }

 private:
  const std::uint8_t* data_;
  std::size_t size_;
};

// body(fn) for every implementation that this CPU runs.
template <typename Fn, typename Body>
void each(std::span<const Impl<Fn>> impls, const Body& body) {
  for (const auto& impl : impls)
    if (cpu_has(impl.needs)) body(impl.fn);
}

// Answers of several implementations: all equal the first.
template <typename T>
class Agree {
 public:
  void operator()(const T& answer) {
    if (!any_) first_ = answer;
    any_ = true;
    FUZZ_REQUIRE(answer == first_);
  }
  const T& first() const { return first_; }

 private:
  T first_{};
  bool any_ = false;
};

}  // namespace fasttrain::fuzz
