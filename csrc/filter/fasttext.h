#pragma once
// fastText's supervised models (Joulin et al. 2016, "Bag of Tricks for Efficient Text Classification"): a file is loaded
// and asked by the column.
//
//   text -> tokens, "</s>" behind them -> rows of words, character n-grams and word n-grams -> mean of the rows (D,)
//        -> hierarchical softmax, softmax, or one sigmoid a label -> the K likeliest labels
//
// Files: .bin (float matrices) and .ftz (product-quantised, pruned or not) of format 11 and 12. The definition is
// fasttext_ref.py. Sums run in the order of fastText's own, so that the answers are the same floats. Loading checks every
// length and index of a file; asking reads only what loading has checked. The caller allocates and has checked shapes.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "core/impl.h"

namespace fasttrain::filter {

enum class FasttextLoss : int { hierarchical = 1, negative = 2, softmax = 3, one_vs_all = 4 };

// What is wrong with a file, in words.
struct FasttextError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// A matrix (rows, D): floats, or a code for every `step` columns and a factor for each row.
struct FasttextMatrix {
  std::size_t rows = 0, dim = 0;
  std::vector<float> values;       // (rows, dim); empty when the codes are kept
  std::vector<float> norms;        // (rows,)  factors of coded rows; empty for none
  std::vector<std::uint8_t> codes; // (rows, subs)
  std::vector<float> centroids;    // (subs, 256, step), the last with dim - step * (subs - 1) columns
  std::size_t subs = 0, step = 0;

  void row(std::size_t i, float* out) const noexcept;  // without its factor
  bool coded() const noexcept { return values.empty() && rows > 0; }
};

struct FasttextModel {
  std::size_t D = 0, num_words = 0, L = 0;  // columns, words, labels
  std::uint32_t bucket = 0;
  int word_ngrams = 1, minn = 0, maxn = 0;
  FasttextLoss loss = FasttextLoss::softmax;
  bool pruned = false;
  FasttextMatrix input, output;

  // Dictionary: words, then labels; entry i is text[text_at[i], text_at[i + 1]).
  std::vector<char> text;
  std::vector<std::size_t> text_at;
  struct Slot {
    std::uint32_t hash;
    std::int32_t id;  // -1: free
  };
  std::vector<Slot> slots;                // open addressing, a power of two
  std::vector<std::int32_t> word_rows;    // rows of word w: word_rows[word_at[w], word_at[w + 1])
  std::vector<std::size_t> word_at;
  struct Kept {
    std::uint64_t bits;  // which of 64 buckets have a row
    std::uint32_t rank;  // rows of the buckets before
  };
  std::vector<Kept> kept;                 // pruned models only
  std::vector<std::int32_t> kept_row;
  struct Node {
    std::int32_t left, right;  // -1: a leaf, whose label is its index
  };
  std::vector<Node> tree;                 // (2 L - 1,), hierarchical softmax only

  FasttextModel(const std::uint8_t* data, std::size_t bytes);  // throws FasttextError, std::bad_alloc

  std::string_view entry(std::size_t i) const noexcept { return {text.data() + text_at[i], text_at[i + 1] - text_at[i]}; }
  std::string_view label(std::size_t i) const noexcept { return entry(num_words + i); }
  std::int32_t find(std::string_view word, std::uint32_t hash) const noexcept;  // -1: not in the dictionary
  std::int32_t row_of_bucket(std::uint32_t b) const noexcept {                  // -1: pruned away
    if (!pruned) return static_cast<std::int32_t>(num_words + b);
    const Kept& k = kept[b >> 6];
    const std::uint64_t bit = std::uint64_t{1} << (b & 63);
    if ((k.bits & bit) == 0) return -1;
    return kept_row[k.rank + static_cast<std::uint32_t>(__builtin_popcountll(k.bits & (bit - 1)))];
  }
};

inline constexpr std::uint32_t fnv_seed = 2166136261u;
inline std::uint32_t fnv_step(std::uint32_t h, char c) noexcept {
  return (h ^ static_cast<std::uint32_t>(static_cast<std::int8_t>(c))) * 16777619u;
}
inline std::uint32_t fnv(std::string_view s) noexcept {
  std::uint32_t h = fnv_seed;
  for (const char c : s) h = fnv_step(h, c);
  return h;
}

// push(bucket) for every character n-gram of a word that stands between '<' and '>'.
template <typename Push>
void fasttext_ngrams(std::string_view word, int minn, int maxn, std::uint32_t bucket, const Push& push) {
  const std::size_t size = word.size();
  const auto inside = [&](std::size_t i) { return (static_cast<std::uint8_t>(word[i]) & 0xC0) == 0x80; };
  for (std::size_t i = 0; i < size; ++i) {
    if (inside(i)) continue;
    std::uint32_t h = fnv_seed;
    std::size_t j = i;
    for (int n = 1; j < size && n <= maxn; ++n) {
      h = fnv_step(h, word[j++]);
      while (j < size && inside(j)) h = fnv_step(h, word[j++]);
      if (n >= minn && !(n == 1 && (i == 0 || j == size))) push(h % bucket);
    }
  }
}

struct FasttextPredictArgs {
  const FasttextModel* model;
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1]); line breaks count as spaces
  std::int32_t* labels;         // (N, K)  out: likeliest first; -1 where there are fewer
  float* probs;                 // (N, K)  out
  std::size_t N, K;
  std::size_t max_chars;        // code points of each text that are read
  int threads;
};

struct FasttextRowsArgs {
  const FasttextModel* model;
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)
  std::int32_t* rows;           // (R,)    out: rows of the input matrix, text n's at places[n]; null to count alone
  const std::int64_t* places;   // (N,)
  std::int64_t* counts;         // (N,)    out: rows of each text
  std::size_t N;
  int threads;
};

struct FasttextWindowsArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)
  std::int64_t* ends;           // (N, W)  out: where each window ends; they tile the text, rising
  std::int64_t* counts;         // (N,)    out: windows, 0 for an empty text
  std::size_t N, W;
  std::size_t min_chars;        // a window ends with the first line at which it has so many characters
  int threads;
};

struct FasttextFns {
  void (*predict)(const FasttextPredictArgs&) noexcept;
  void (*rows)(const FasttextRowsArgs&) noexcept;
  void (*windows)(const FasttextWindowsArgs&) noexcept;
};

std::span<const Impl<FasttextFns>> fasttext_impls();  // best first

}  // namespace fasttrain::filter
