// line_edit: implementations agree, a text that no family edits is its own, an edit takes bytes out and adds none.

#include "filter/line_edit.h"

#include <algorithm>

#include "fuzz.h"

using namespace fasttrain;
using namespace fasttrain::filter;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const LineRules rules{in.take() % 64u, in.take() % 8u, in.take(), in.take() % 8u, in.take() / 255.0, in.take() % 8u,
                        in.take() % 16u};
  const fuzz::Texts texts = in.texts();
  const std::size_t N = texts.N();
  for (std::uint8_t family = 0; family < 4; ++family) {
    const std::vector<std::uint8_t> edit(N, family);
    fuzz::Agree<std::vector<std::int64_t>> bad, ends;
    fuzz::Agree<std::vector<std::uint8_t>> edited;
    fuzz::each(line_edit_impls(), [&](LineEditFn fn) {
      std::vector<std::int64_t> where(2), out_ends(N + 1);
      std::vector<std::uint8_t> out(texts.data.size());
      fn({texts.data.data(), texts.offsets.data(), edit.data(), out.data(), out_ends.data(), where.data(), N, rules, 1});
      bad(where);
      if (where[0] >= 0) return;
      for (std::size_t n = 0; n < N; ++n)
        FUZZ_REQUIRE(out_ends[n] <= out_ends[n + 1] && out_ends[n + 1] - out_ends[n] <= texts.offsets[n + 1] - texts.offsets[n]);
      out.resize(static_cast<std::size_t>(out_ends[N]));
      std::ptrdiff_t counts[256] = {};
      for (const std::uint8_t c : texts.data) ++counts[c];
      for (const std::uint8_t c : out) --counts[c];
      counts['\n'] = 0;  // lines that are kept end in \n, whatever ended them (\r, U+0085, U+2028, ...)
      FUZZ_REQUIRE(std::all_of(counts, counts + 256, [](std::ptrdiff_t left) { return left >= 0; }));
      FUZZ_REQUIRE(family != 0 || out == texts.data);
      ends(out_ends);
      edited(out);
    });
  }
  return 0;
}
