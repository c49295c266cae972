#include "filter/text_stats.h"

#include <array>

#include "core/parallel.h"
#include "filter/document_stats.h"

namespace fasttrain::filter {
namespace {

// A text that is not UTF-8 leaves its bad byte's position, as -1 - position, in its first column.
void stats_range(const TextStatsArgs& p, std::size_t begin, std::size_t end) {
  StatsScratch scratch;
  for (std::size_t n = begin; n < end; ++n)
    if (const std::int64_t bad = document_stats<classify_ascii_scalar>(p, n, scratch); bad >= 0)
      p.out[n * num_stats] = -1 - bad;
}

}  // namespace

void text_stats_scalar(const TextStatsArgs& p) {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) { stats_range(p, begin, end); });
  finish(p);
}

std::span<const Impl<TextStatsFn>> text_stats_impls() {
  static constexpr std::array<Impl<TextStatsFn>, 2> impls{
      {{"avx2", Isa::avx2, text_stats_avx2}, {"scalar", Isa::any, text_stats_scalar}}};
  return impls;
}

}  // namespace fasttrain::filter
