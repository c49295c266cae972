#include "filter/line_edit.h"

#include <array>

#include "core/parallel.h"
#include "filter/line_writer.h"

namespace fasttrain::filter {
namespace {

void edit_range(const LineEditArgs& p, std::size_t begin, std::size_t end) {
  Masks masks;
  LineScratch scratch;
  for (std::size_t n = begin; n < end; ++n) p.out_offsets[n + 1] = edit_text<classify_ascii_scalar>(p, n, masks, scratch);
}

}  // namespace

void line_edit_scalar(const LineEditArgs& p) {
  parallel_ranges(p.N, 64, p.threads, [&](std::size_t begin, std::size_t end) { edit_range(p, begin, end); });
  compact(p.offsets, p.out, p.out_offsets, p.bad, p.N);
}

std::span<const Impl<LineEditFn>> line_edit_impls() {
  static constexpr std::array<Impl<LineEditFn>, 2> impls{
      {{"avx2", Isa::avx2, line_edit_avx2}, {"scalar", Isa::any, line_edit_scalar}}};
  return impls;
}

}  // namespace fasttrain::filter
