#include "filter/c4_lines.h"

#include <array>

#include "core/parallel.h"
#include "filter/c4_edit.h"

namespace fasttrain::filter {
namespace {

void edit_range(const C4LinesArgs& p, std::size_t begin, std::size_t end) {
  Masks masks;
  LineScratch scratch;
  for (std::size_t n = begin; n < end; ++n)
    p.out_offsets[n + 1] =
        c4_edit<classify_ascii_scalar>(p.data + p.offsets[n], static_cast<std::size_t>(p.offsets[n + 1] - p.offsets[n]),
                                       p.rules, p.out + (p.offsets[n] - p.offsets[0]), masks, scratch);
}

}  // namespace

void c4_lines_scalar(const C4LinesArgs& p) {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) { edit_range(p, begin, end); });
  compact(p);
}

std::span<const Impl<C4LinesFn>> c4_lines_impls() {
  static constexpr std::array<Impl<C4LinesFn>, 2> impls{
      {{"avx2", Isa::avx2, c4_lines_avx2}, {"scalar", Isa::any, c4_lines_scalar}}};
  return impls;
}

}  // namespace fasttrain::filter
