#include "core/parallel.h"
#include "filter/line_writer.h"

#if defined(__x86_64__)

namespace fasttrain::filter {
namespace {

FT_AVX2 void edit_range(const LineEditArgs& p, std::size_t begin, std::size_t end) {
  Masks masks;
  LineScratch scratch;
  for (std::size_t n = begin; n < end; ++n) p.out_offsets[n + 1] = edit_text<classify_ascii_avx2>(p, n, masks, scratch);
}

}  // namespace

void line_edit_avx2(const LineEditArgs& p) {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) { edit_range(p, begin, end); });
  compact(p.offsets, p.out, p.out_offsets, p.bad, p.N);
}

}  // namespace fasttrain::filter
#else
namespace fasttrain::filter {
void line_edit_avx2(const LineEditArgs&) {}  // never runnable here: cpu_has(avx2) is false
}  // namespace fasttrain::filter
#endif
