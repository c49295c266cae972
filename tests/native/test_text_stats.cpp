// text_stats and line_edit: the implementations agree, and under ASan and UBSan none leaves its arrays, on texts put
// together from what the rules look for, valid and not, in pieces that cross every edge of 64 bytes.

#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include "filter/line_edit.h"
#include "filter/text_stats.h"

using namespace fasttrain;
using namespace fasttrain::filter;

namespace {

constexpr const char* good[] = {"the ",        "a",    "\n", "\n\n", "\r\n",   "...", "…",      "•",       "-",
                                "漢字",        "かな", "😀",  "😀",    "\u2028", "[1]", "[edit]", "{",       ". ",
                                "’",           "'",    ",",  "3",    "я",      "é",   "  ",     "e\u0301", "JavaScript",
                                "use cookies", "\t",   "#",  "_",    "\"",     "word", "3 likes", "Sign-in ",
                                "items in cart", "Read more...", "CAPITALS", "ΩΣ"};
constexpr const char* bad[] = {"\xff", "\xe2\x80", "\xed\xa0\x80", "\x80"};

bool agree(std::mt19937& random, int round) {
  const bool broken = random() % 4 == 0;
  const std::size_t N = random() % 5;
  std::string text;
  std::vector<std::int64_t> offsets{0};
  for (std::size_t n = 0; n < N; ++n) {
    for (std::size_t i = random() % (round % 50 == 0 ? 900 : 60); i > 0; --i)
      text += broken && random() % 40 == 0 ? bad[random() % std::size(bad)] : good[random() % std::size(good)];
    offsets.push_back(static_cast<std::int64_t>(text.size()));
  }
  const std::vector<std::uint8_t> data(text.begin(), text.end());
  const LineRules rules{static_cast<std::uint32_t>(random() % 64), random() % 4, random() % 3 ? 1000 : random() % 30,
                        static_cast<std::uint32_t>(random() % 8), static_cast<double>(random() % 9) / 8, random() % 4,
                        random() % 12};
  std::vector<std::uint8_t> edit(N);
  for (auto& e : edit) e = static_cast<std::uint8_t>(random() % 4);
  std::vector<std::vector<std::int64_t>> found, plain, edited;
  for (const auto& impl : text_stats_impls()) {
    if (!cpu_has(impl.needs)) continue;
    for (const bool edits : {false, true}) {
      std::vector<std::int64_t> out(N * num_stats), where(2), ends(N + 1);
      std::vector<std::uint8_t> text(data.size());
      impl.fn({data.data(), offsets.data(), out.data(), where.data(), edits ? edit.data() : nullptr,
               edits ? text.data() : nullptr, edits ? ends.data() : nullptr, N, rules, 30, 1});
      if (where[0] >= 0) out.clear();
      if (where[0] >= 0) ends.assign(1, 0);
      out.insert(out.end(), where.begin(), where.end());
      (edits ? found : plain).push_back(out);
      if (!edits) continue;
      ends.insert(ends.end(), where.begin(), where.end());
      ends.insert(ends.end(), text.begin(), text.begin() + ends[ends.size() - 3]);
      edited.push_back(ends);  // line_edit's own answer is compared with it below
    }
  }
  for (const auto& impl : line_edit_impls()) {
    if (!cpu_has(impl.needs)) continue;
    std::vector<std::uint8_t> out(data.size());
    std::vector<std::int64_t> ends(N + 1), where(2);
    impl.fn({data.data(), offsets.data(), edit.data(), out.data(), ends.data(), where.data(), N, rules, 1});
    if (where[0] >= 0) ends.assign(1, 0);
    ends.insert(ends.end(), where.begin(), where.end());
    ends.insert(ends.end(), out.begin(), out.begin() + ends[ends.size() - 3]);
    edited.push_back(ends);
  }
  for (const auto& all : {found, plain, edited})
    for (const auto& one : all)
      if (one != all.front()) return false;
  return true;
}

}  // namespace

int main() {
  std::mt19937 random(20261123);
  for (int round = 0; round < 10000; ++round) {
    if (agree(random, round)) continue;
    std::printf("text_stats: implementations differ in round %d\n", round);
    return 1;
  }
  return 0;
}
