// Statistics and line edits on arbitrary bytes: the implementations agree on every count and every edited byte, text_stats
// and line_edit make the same edit, and none leaves its arrays. The first 8 bytes choose the rules.

#include <cstdint>
#include <cstdlib>
#include <vector>

#include "filter/line_edit.h"
#include "filter/text_stats.h"

using namespace fasttrain;
using namespace fasttrain::filter;

namespace {

void expect(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 8) return 0;
  const LineRules rules{bytes[0] & 63u, bytes[1] % 5u,       bytes[2] & 1u ? 1000u : bytes[2] / 8u,
                        bytes[3] & 7u,  bytes[4] / 255.0, bytes[5] % 4u,
                        bytes[6] % 12u};
  const std::vector<std::uint8_t> data(bytes + 8, bytes + size), edit{static_cast<std::uint8_t>(bytes[7] & 3)};
  const std::vector<std::int64_t> offsets{0, static_cast<std::int64_t>(data.size())};
  std::vector<std::uint8_t> wanted;
  std::vector<std::int64_t> counted;
  bool first = true;
  const auto agree = [&](const std::vector<std::uint8_t>& text, const std::vector<std::int64_t>& counts) {
    if (first) wanted = text, counted = counts;
    first = false;
    expect(text == wanted && counts == counted);
  };
  for (const auto& impl : text_stats_impls()) {
    if (!cpu_has(impl.needs)) continue;
    std::vector<std::int64_t> out(num_stats), bad(2), ends(2);
    std::vector<std::uint8_t> text(data.size());
    impl.fn({data.data(), offsets.data(), out.data(), bad.data(), edit.data(), text.data(), ends.data(), 1, rules,
             bytes[6] / 4u, 1});
    if (bad[0] >= 0) out.assign(1, bad[1]), ends[1] = 0;
    text.resize(static_cast<std::size_t>(ends[1]));
    agree(text, out);
  }
  for (const auto& impl : line_edit_impls()) {
    if (!cpu_has(impl.needs)) continue;
    std::vector<std::int64_t> bad(2), ends(2);
    std::vector<std::uint8_t> text(data.size());
    impl.fn({data.data(), offsets.data(), edit.data(), text.data(), ends.data(), bad.data(), 1, rules, 1});
    if (bad[0] >= 0) {
      expect(counted == std::vector<std::int64_t>{bad[1]});
      continue;
    }
    text.resize(static_cast<std::size_t>(ends[1]));
    expect(text == wanted);
  }
  return 0;
}
