#include "core/parallel.h"
#include "filter/document_stats.h"

#if defined(__x86_64__)

namespace fasttrain::filter {
namespace {

// A text that is not UTF-8 leaves its bad byte's position, as -1 - position, in its first column.
FT_AVX2 void stats_range(const TextStatsArgs& p, std::size_t begin, std::size_t end) {
  StatsScratch scratch;
  for (std::size_t n = begin; n < end; ++n)
    if (const std::int64_t bad = document_stats<classify_ascii_avx2>(p, n, scratch); bad >= 0)
      p.out[n * num_stats] = -1 - bad;
}

}  // namespace

void text_stats_avx2(const TextStatsArgs& p) {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) { stats_range(p, begin, end); });
  finish(p);
}

}  // namespace fasttrain::filter
#else
namespace fasttrain::filter {
void text_stats_avx2(const TextStatsArgs&) {}  // never runnable here: cpu_has(avx2) is false
}  // namespace fasttrain::filter
#endif
