// bpe_train and bpe_encode: a vocabulary is learned from some of the texts; implementations agree on it, its tokens are
// what their merges say, and the ids of every text spell the text. Stretches of the texts are added tokens: they are found
// leftmost first, of those the longest, and only where a call asks for them.

#include "tokenizer/bpe_encode.h"

#include <algorithm>
#include <string>

#include "fuzz.h"
#include "tokenizer/bpe_train.h"
#include "tokenizer/scan.h"

using namespace fasttrain;
using namespace fasttrain::tokenizer;

namespace {

struct Vocabulary {
  std::vector<std::uint32_t> pairs, ids;
  std::vector<std::string> tokens;
};

Vocabulary learn(const fuzz::Texts& texts, int pattern, std::size_t merges, std::int64_t min_frequency,
                 const std::vector<std::uint32_t>& byte_ids) {
  std::vector<std::uint8_t> token_data(256);
  std::vector<std::int64_t> token_offsets(257);
  for (std::size_t b = 0; b < 256; ++b) token_data[byte_ids[b]] = static_cast<std::uint8_t>(b);
  for (std::size_t b = 0; b < 257; ++b) token_offsets[b] = static_cast<std::int64_t>(b);
  fuzz::Agree<std::vector<std::uint32_t>> learned_pairs, learned_ids;
  fuzz::each(bpe_train_impls(), [&](const BpeTrainImpl& impl) {
    WordCounter counter(pattern);
    impl.count({&counter, texts.data.data(), texts.offsets.data(), texts.N() / 2 + 1 < texts.N() ? texts.N() / 2 + 1 : texts.N(), 1});
    const WordMap& map = counter.whole();
    std::vector<std::uint8_t> word_data(map.num_bytes());
    std::vector<std::int64_t> word_offsets(map.size() + 1), word_counts(map.size());
    map.write_sorted(word_data.data(), word_offsets.data(), word_counts.data());
    std::vector<std::uint32_t> symbols;
    for (const std::uint8_t byte : word_data) symbols.push_back(byte_ids[byte]);
    symbols.shrink_to_fit();
    const std::size_t capacity = 4 * merges + 16;
    std::vector<std::uint32_t> pairs(2 * capacity), ids(capacity);
    const std::int64_t M = impl.train({symbols.data(), word_offsets.data(), word_counts.data(), token_data.data(),
                                       token_offsets.data(), pairs.data(), ids.data(), nullptr, nullptr, word_counts.size(),
                                       256, 0, 256 + merges, capacity, min_frequency, true, 0});
    FUZZ_REQUIRE(M >= -1 && M <= static_cast<std::int64_t>(capacity));
    pairs.resize(M < 0 ? 0 : 2 * static_cast<std::size_t>(M));
    ids.resize(pairs.size() / 2);
    learned_pairs(pairs);
    learned_ids(ids);
  });
  Vocabulary v{learned_pairs.first(), learned_ids.first(), {}};
  for (std::size_t b = 0; b < 256; ++b) v.tokens.emplace_back(1, static_cast<char>(token_data[b]));
  for (std::size_t m = 0; m < v.ids.size(); ++m) {
    FUZZ_REQUIRE(v.pairs[2 * m] < v.tokens.size() && v.pairs[2 * m + 1] < v.tokens.size());
    const std::string made = v.tokens[v.pairs[2 * m]] + v.tokens[v.pairs[2 * m + 1]];
    FUZZ_REQUIRE(v.ids[m] <= v.tokens.size());
    if (v.ids[m] == v.tokens.size()) v.tokens.push_back(made);
    FUZZ_REQUIRE(v.tokens[v.ids[m]] == made);
  }
  FUZZ_REQUIRE(v.tokens.size() <= 256 + merges);
  return v;
}

// What stands where added tokens are looked for one place after another.
std::vector<std::uint32_t> find_added(const fuzz::Texts& texts, const std::vector<std::string>& added, std::uint32_t first) {
  std::vector<std::uint32_t> found;
  for (std::size_t n = 0; n < texts.N(); ++n) {
    const std::string text(texts.data.begin() + texts.offsets[n], texts.data.begin() + texts.offsets[n + 1]);
    for (std::size_t at = 0; at < text.size();) {
      std::size_t best = added.size();
      for (std::size_t k = 0; k < added.size(); ++k)
        if (text.compare(at, added[k].size(), added[k]) == 0 && (best == added.size() || added[k].size() > added[best].size()))
          best = k;
      if (best < added.size()) found.push_back(first + static_cast<std::uint32_t>(best));
      at += best < added.size() ? added[best].size() : 1;
    }
  }
  return found;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  fuzz::Input in(bytes, size);
  const std::uint8_t choice = in.take();
  const int pattern = (choice >> 3) % Pattern::count;
  const bool ignore_merges = choice & 4;
  const std::size_t merges = in.take();
  const std::int64_t min_frequency = in.take() % 4u;
  const std::size_t cache_bytes = std::size_t{1} << in.take() % 20u;
  const auto turn = static_cast<std::uint8_t>(in.take() | 1);
  const std::uint8_t num_added = in.take() % 4;
  std::uint8_t places[3], sizes[3];
  for (int k = 0; k < 3; ++k) places[k] = in.take(), sizes[k] = in.take();
  const fuzz::Texts texts = in.texts();
  const std::size_t N = texts.N(), S = texts.data.size();
  std::vector<std::uint32_t> byte_ids(256);
  for (std::size_t b = 0; b < 256; ++b) byte_ids[b] = static_cast<std::uint8_t>(b * turn);  // odd: a permutation
  const Vocabulary v = learn(texts, pattern, merges, min_frequency, byte_ids);

  std::vector<std::string> added;
  std::vector<std::uint8_t> added_data;
  std::vector<std::int64_t> added_offsets{0};
  std::vector<std::uint32_t> added_ids;
  for (int k = 0; k < num_added && S > 0; ++k) {
    const std::size_t at = places[k] % S, size = std::min<std::size_t>(sizes[k] % 20u + 1, S - at);
    const std::string text(texts.data.begin() + static_cast<std::ptrdiff_t>(at), texts.data.begin() + static_cast<std::ptrdiff_t>(at + size));
    if (std::find(added.begin(), added.end(), text) != added.end()) continue;
    added_ids.push_back(static_cast<std::uint32_t>(v.tokens.size() + added.size()));
    added.push_back(text);
    added_data.insert(added_data.end(), text.begin(), text.end());
    added_offsets.push_back(static_cast<std::int64_t>(added_data.size()));
  }
  added_data.shrink_to_fit();
  std::vector<std::uint8_t> token_data;
  std::vector<std::int64_t> token_offsets{0};
  for (const std::string& token : v.tokens) {
    token_data.insert(token_data.end(), token.begin(), token.end());
    token_offsets.push_back(static_cast<std::int64_t>(token_data.size()));
  }
  token_data.shrink_to_fit();
  std::vector<std::uint32_t> ranks(v.ids.size());
  for (std::size_t m = 0; m < ranks.size(); ++m) ranks[m] = static_cast<std::uint32_t>(m);
  const BpeModelArgs args{token_data.data(), token_offsets.data(), v.pairs.data(), ranks.data(), v.ids.data(),
                          byte_ids.data(), added_data.data(), added_offsets.data(), added_ids.data(), v.tokens.size(), ranks.size(),
                          ranks.size(), added.size(), pattern, ignore_merges, cache_bytes,
                          choice & 1 ? std::size_t{1} << 16 : 0,  // 0: long pieces go by backtracking at once
                          choice & 2 ? std::size_t{1} : std::size_t{1} << 12};  // 1: the cache grows from the vocabulary on
  const std::vector<std::uint32_t> wanted_added = find_added(texts, added, static_cast<std::uint32_t>(v.tokens.size()));
  fuzz::Agree<std::vector<std::uint32_t>> plain_answers, added_answers;
  fuzz::each(bpe_encode_impls(), [&](BpeEncodeFn fn) {
    BpeModel model(args);
    for (int turn_of = 0; turn_of < 4; ++turn_of) {  // the second time from the caches, then added tokens besides
      const bool again = turn_of % 2 == 1, finds_added = turn_of >= 2;
      std::vector<std::uint32_t> ids(S + N);
      std::vector<std::int64_t> ends(N + 1);
      fn({&model, texts.data.data(), texts.offsets.data(), ids.data(), ends.data(), N, S, again ? 7 : -1, finds_added, finds_added ? 2 : 1});  // two threads: in blocks
      std::vector<std::uint32_t> plain, of_added;
      FUZZ_REQUIRE(ends[0] == 0 && ends[N] <= static_cast<std::int64_t>(ids.size()));
      for (std::size_t n = 0; n < N; ++n) {
        std::string spelled;
        const std::int64_t last = ends[n + 1] - (again ? 1 : 0);
        FUZZ_REQUIRE(last >= ends[n]);
        for (std::int64_t k = ends[n]; k < last; ++k) {
          const std::uint32_t id = ids[static_cast<std::size_t>(k)];
          FUZZ_REQUIRE(id < v.tokens.size() + (finds_added ? added.size() : 0));
          const bool is_added = id >= v.tokens.size();
          if (is_added) of_added.push_back(id);
          spelled += is_added ? added[id - v.tokens.size()] : v.tokens[id];
          plain.push_back(id);
        }
        FUZZ_REQUIRE(!again || ids[static_cast<std::size_t>(last)] == 7);
        FUZZ_REQUIRE(spelled == std::string(texts.data.begin() + texts.offsets[n], texts.data.begin() + texts.offsets[n + 1]));
      }
      FUZZ_REQUIRE(!finds_added || of_added == wanted_added);
      (finds_added ? added_answers : plain_answers)(plain);
    }
  });
  return 0;
}
