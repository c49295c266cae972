// Listed words on arbitrary bytes, with lists made of the input's own: no read outside the arrays, every implementation
// the same counts, and no more matches than characters.

#include <algorithm>
#include <map>
#include <string>

#include "filter/word_list.h"
#include "filter/word_list_scan.h"
#include "fuzz.h"

using namespace fasttrain;
using namespace fasttrain::filter;

namespace {

struct Lists {
  std::vector<std::int32_t> roots, edges{0}, next;
  std::vector<std::uint8_t> heads, pairs, firsts, bytes, kinds;
};

struct Node {
  std::map<std::uint8_t, std::size_t> next;
  std::uint8_t kind = 0;
};

// Any bytes may be an entry; what may begin one lets everything pass.
Lists build(const std::vector<std::string>& entries, std::uint8_t seed) {
  std::vector<Node> nodes(1);
  Lists lists;
  lists.roots = {0};
  lists.heads.assign(word_head_bytes, 0xff);
  lists.pairs.assign(word_pair_bytes, 0xff);
  lists.firsts.assign(word_first_bytes, 0xff);
  for (std::size_t e = 0; e < entries.size(); ++e) {
    std::size_t node = 0;
    for (const char c : entries[e]) {
      const auto byte = static_cast<std::uint8_t>(c);
      if (!nodes[node].next.contains(byte)) {
        nodes[node].next[byte] = nodes.size();
        nodes.emplace_back();
      }
      node = nodes[node].next[byte];
    }
    const auto kind = static_cast<std::uint8_t>(1 + (seed + e) % 4);
    if (node != 0) nodes[node].kind = static_cast<std::uint8_t>(kind | ((seed >> (e % 8) & 1) ? word_open : 0));
  }
  for (const Node& node : nodes) {
    for (const auto& [byte, target] : node.next) {
      lists.bytes.push_back(byte);
      lists.next.push_back(static_cast<std::int32_t>(target));
    }
    lists.edges.push_back(static_cast<std::int32_t>(lists.bytes.size()));
    lists.kinds.push_back(node.kind);
  }
  return lists;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const auto seed = input.take();
  const int window = input.take();
  const std::size_t num_entries = input.take() % 6u;
  std::vector<std::string> entries;
  for (std::size_t e = 0; e < num_entries; ++e) {
    std::string entry;
    for (std::size_t n = input.take() % 8u; n > 0; --n) {
      const std::uint8_t c = input.take();
      entry += static_cast<char>(c < 0x80 ? ascii_lower[c] : c);
    }
    entries.push_back(entry);
  }
  const Lists lists = build(entries, seed);
  const fuzz::Texts texts = input.texts();
  const std::size_t N = texts.N();
  std::vector<std::int32_t> which(N);
  for (std::size_t n = 0; n < N; ++n) which[n] = n % 5 == 4 ? -1 : 0;
  fuzz::Agree<std::vector<std::int64_t>> agree;
  fuzz::each(word_list_impls(), [&](WordListFn fn) {
    std::vector<std::int64_t> counts(4 * N, -1);
    fn({texts.data.data(), texts.offsets.data(), which.data(), counts.data(), lists.roots.data(), lists.heads.data(),
        lists.pairs.data(), lists.firsts.data(), lists.edges.data(), lists.bytes.data(), lists.next.data(),
        lists.kinds.data(), N, window, 1});
    agree(counts);
  });
  for (std::size_t n = 0; n < N; ++n) {
    std::int64_t sum = 0;
    for (int k = 0; k < 4; ++k) sum += agree.first()[4 * n + k];
    FUZZ_REQUIRE(sum <= static_cast<std::int64_t>(texts.bytes(n)) && (which[n] >= 0 || sum == 0));
  }
  return 0;
}
