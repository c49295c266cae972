#include "tokenizer/pair_table.h"

#include <algorithm>
#include <bit>

namespace fasttrain::tokenizer {

PairTable::PairTable(const std::uint32_t* pairs, const std::uint32_t* ranks, std::size_t num) {
  const std::size_t size = std::max<std::size_t>(std::bit_ceil(num + num / 2 + 1), 16);
  slots_ = HugeArray<std::uint64_t>(size + 8, 0xFF);
  filter_ = HugeArray<std::uint64_t>(size / 16, 0);
  end_ = slots_.get() + slots_.size();
  shift_ = 64 - std::countr_zero(size / 8);
  filter_shift_ = 64 - std::countr_zero(4 * size);
  for (std::size_t m = 0; m < num; ++m) {
    const std::uint64_t wanted = key(pairs[2 * m], pairs[2 * m + 1]);
    std::uint64_t* at = slots_.get() + (line(wanted) - slots_.get());
    while (*at != empty && *at >> 22 != wanted) at = at + 1 == end_ ? slots_.get() + 8 : at + 1;
    const std::uint64_t bit = (wanted * 0x9E3779B97F4A7C15ULL) >> filter_shift_;
    filter_.get()[bit >> 6] |= std::uint64_t{1} << (bit & 63);
    *at = wanted << 22 | ranks[m];  // of a pair that is listed twice the last one counts, as in tokenizers
  }
}

}  // namespace fasttrain::tokenizer
