#include "filter/word_list.h"

#include <array>

#include "filter/word_list_scan.h"

namespace fasttrain::filter {

void word_list_scalar(const WordListArgs& p) noexcept {
  word_list_run(p, [](WordScan& scan) noexcept {
    while (scan.i < scan.size) scan.step();
  });
}

std::span<const Impl<WordListFn>> word_list_impls() {
  static constexpr std::array<Impl<WordListFn>, 2> impls{{
      {"avx2", Isa::avx2, word_list_avx2},
      {"scalar", Isa::any, word_list_scalar},
  }};
  return impls;
}

}  // namespace fasttrain::filter
