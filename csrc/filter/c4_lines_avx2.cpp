#include "core/parallel.h"
#include "filter/c4_edit.h"

#if defined(__x86_64__)

namespace fasttrain::filter {
namespace {

FT_AVX2 void edit_range(const C4LinesArgs& p, std::size_t begin, std::size_t end) {
  Masks masks;
  LineScratch scratch;
  for (std::size_t n = begin; n < end; ++n)
    p.out_offsets[n + 1] =
        c4_edit<classify_ascii_avx2>(p.data + p.offsets[n], static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n]),
                                     p.rules, p.out + (p.offsets[n] - p.offsets[0]), masks, scratch);
}

}  // namespace

void c4_lines_avx2(const C4LinesArgs& p) {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) { edit_range(p, begin, end); });
  compact(p);
}

}  // namespace fasttrain::filter
#else
namespace fasttrain::filter {
void c4_lines_avx2(const C4LinesArgs&) {}  // never runnable here: cpu_has(avx2) is false
}  // namespace fasttrain::filter
#endif
