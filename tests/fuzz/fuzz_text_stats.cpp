// text_stats, with and without the edit: implementations agree, the edit is line_edit's, counts fit the bytes.

#include "filter/text_stats.h"

#include "fuzz.h"

using namespace fasttrain;
using namespace fasttrain::filter;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  LineRules rules{};
  rules.c4_flags = in.take() % 64u;
  rules.c4_min_words = in.take() % 8u;
  rules.c4_max_word_chars = in.take();
  rules.rw_flags = in.take() % 8u;
  rules.rw_max_uppercase = in.take() / 255.0;
  rules.rw_min_words = in.take() % 8u;
  rules.rw_max_phrase_words = in.take() % 16u;
  const std::size_t short_line_chars = in.take() % 64u;
  const std::uint8_t flags = in.take();
  const fuzz::Texts texts = in.texts();
  const std::size_t N = texts.N();
  std::vector<std::uint8_t> edit(N);
  for (std::size_t n = 0; n < N; ++n) edit[n] = static_cast<std::uint8_t>((flags >> (n % 4 * 2)) & 3);

  fuzz::Agree<std::vector<std::int64_t>> plain, of_edited, bad, ends;
  fuzz::Agree<std::vector<std::uint8_t>> edited;
  const auto keep_text = [&](std::vector<std::uint8_t>& out, const std::vector<std::int64_t>& out_ends) {
    FUZZ_REQUIRE(out_ends[0] == 0);
    for (std::size_t n = 0; n < N; ++n) {
      FUZZ_REQUIRE(out_ends[n] <= out_ends[n + 1]);
      FUZZ_REQUIRE(out_ends[n + 1] - out_ends[n] <= texts.offsets[n + 1] - texts.offsets[n]);
    }
    out.resize(static_cast<std::size_t>(out_ends[N]));
    ends(out_ends);
    edited(out);
  };
  for (const bool edits : {false, true}) {
    fuzz::each(text_stats_impls(), [&](TextStatsFn fn) {
      std::vector<std::int64_t> out(N * num_stats), where(2), out_ends(N + 1);
      std::vector<std::uint8_t> out_text(texts.data.size());
      fn({texts.data.data(), texts.offsets.data(), out.data(), where.data(), edits ? edit.data() : nullptr,
          edits ? out_text.data() : nullptr, edits ? out_ends.data() : nullptr, N, rules,
          short_line_chars, 1});
      bad(where);
      if (where[0] >= 0) return;
      for (std::size_t n = 0; n < N; ++n) {
        const std::int64_t* row = out.data() + n * num_stats;
        FUZZ_REQUIRE(row[st_bytes] == static_cast<std::int64_t>(texts.bytes(n)));
        FUZZ_REQUIRE(row[st_chars] <= row[st_bytes] && row[st_dup_lines] <= row[st_repetition_lines]);
        for (int k = 0; k < num_stats; ++k) FUZZ_REQUIRE(row[k] >= 0 && row[k] <= 2 * row[st_bytes] + 2);
      }
      (edits ? of_edited : plain)(out);
      if (edits) keep_text(out_text, out_ends);
    });
  }
  fuzz::each(line_edit_impls(), [&](LineEditFn fn) {
    std::vector<std::int64_t> where(2), out_ends(N + 1);
    std::vector<std::uint8_t> out_text(texts.data.size());
    fn({texts.data.data(), texts.offsets.data(), edit.data(), out_text.data(), out_ends.data(), where.data(), N, rules,
        1});
    bad(where);
    if (where[0] < 0) keep_text(out_text, out_ends);
  });
  return 0;
}
