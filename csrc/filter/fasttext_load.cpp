// Reads a fastText file. Everything in it is taken for damaged until it is checked.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "filter/fasttext.h"

namespace fasttrain::filter {
namespace {

constexpr std::int32_t magic = 793712314;
constexpr std::size_t max_floats = std::size_t{64} << 20;   // larger coded matrices stay coded: 256 MB
constexpr std::int64_t max_bucket = std::int64_t{1} << 28;  // of a pruned model: a bitmap of 64 MB
constexpr int max_ngram = 256;
constexpr std::int64_t no_count = 1'000'000'000'000'000;

[[noreturn]] void fail(const std::string& what) { throw FasttextError(what); }

class Reader {
 public:
  Reader(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}

  template <typename T>
  T take(const char* what) {
    T value;
    std::memcpy(&value, bytes(sizeof(T), what), sizeof(T));
    return value;
  }
  const std::uint8_t* bytes(std::size_t n, const char* what) {
    if (n > left_) fail("the file ends inside its " + std::string(what));
    const std::uint8_t* at = data_;
    data_ += n, left_ -= n;
    return at;
  }
  std::string_view zero_ended(const char* what) {
    const void* end = left_ == 0 ? nullptr : std::memchr(data_, 0, left_);
    if (end == nullptr) fail("the file ends inside its " + std::string(what));
    const std::size_t n = static_cast<std::size_t>(static_cast<const std::uint8_t*>(end) - data_);
    return {reinterpret_cast<const char*>(bytes(n + 1, what)), n};
  }
  std::vector<float> floats(std::size_t n, const char* what) {
    if (n > left_ / sizeof(float)) fail("the file ends inside its " + std::string(what));
    std::vector<float> values(n);
    const std::uint8_t* at = bytes(n * sizeof(float), what);
    if (n > 0) std::memcpy(values.data(), at, n * sizeof(float));
    if (!std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); }))
      fail("a number of its " + std::string(what) + " is not finite");
    return values;
  }
  std::size_t left() const { return left_; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

bool flag(Reader& in, const char* what) {
  const auto value = in.take<std::uint8_t>(what);
  if (value > 1) fail("a flag of its " + std::string(what) + " is neither 0 nor 1");
  return value == 1;
}

struct Quantizer {
  std::size_t subs, step;
  std::vector<float> centroids;
};

Quantizer read_quantizer(Reader& in, std::size_t dim, const char* what) {
  const auto d = in.take<std::int32_t>(what), subs = in.take<std::int32_t>(what), step = in.take<std::int32_t>(what),
             last = in.take<std::int32_t>(what);
  if (d < 1 || static_cast<std::size_t>(d) != dim || subs < 1 || subs > d || step < 1 || step > d || last < 1 ||
      last > step || static_cast<std::int64_t>(subs - 1) * step + last != d)
    fail("the quantiser of its " + std::string(what) + " does not fit its columns");
  return {static_cast<std::size_t>(subs), static_cast<std::size_t>(step), in.floats(dim * 256, what)};
}

FasttextMatrix read_matrix(Reader& in, bool coded, std::size_t dim, bool fold_norms, const char* what) {
  FasttextMatrix m;
  const bool normed = coded && flag(in, what);
  const auto rows = in.take<std::int64_t>(what), columns = in.take<std::int64_t>(what);
  if (rows < 0 || columns < 1 || static_cast<std::size_t>(columns) != dim)
    fail("its " + std::string(what) + " is " + std::to_string(rows) + " by " + std::to_string(columns) + ", not by " +
         std::to_string(dim));
  m.rows = static_cast<std::size_t>(rows), m.dim = dim;
  if (!coded) {
    if (m.rows > in.left() / sizeof(float) / dim) fail("the file ends inside its " + std::string(what));
    m.values = in.floats(m.rows * dim, what);
    return m;
  }
  const auto size = in.take<std::int32_t>(what);
  if (size < 0) fail("its " + std::string(what) + " has a negative number of codes");
  const std::uint8_t* codes = in.bytes(static_cast<std::size_t>(size), what);
  Quantizer q = read_quantizer(in, dim, what);
  if (m.rows > static_cast<std::size_t>(size) || m.rows * q.subs != static_cast<std::size_t>(size))
    fail("its " + std::string(what) + " has another number of codes than its rows need");
  m.subs = q.subs, m.step = q.step, m.centroids = std::move(q.centroids);
  m.codes.assign(codes, codes + size);
  if (normed) {
    const std::uint8_t* norm_codes = in.bytes(m.rows, what);
    const Quantizer norm = read_quantizer(in, 1, what);
    m.norms.resize(m.rows);
    for (std::size_t i = 0; i < m.rows; ++i) m.norms[i] = norm.centroids[norm_codes[i]];
  }
  if (m.rows == 0 || m.rows > max_floats / dim) return m;
  std::vector<float> values(m.rows * dim);
  for (std::size_t i = 0; i < m.rows; ++i) {
    m.row(i, values.data() + i * dim);
    if (fold_norms && !m.norms.empty())  // a sum of rows takes norm * value, rounded; a product takes the norm last
      for (std::size_t d = 0; d < dim; ++d) values[i * dim + d] *= m.norms[i];
  }
  m.values = std::move(values);
  m.codes = {}, m.centroids = {};
  if (fold_norms) m.norms = {};
  return m;
}

std::vector<FasttextModel::Node> build_tree(const std::vector<std::int64_t>& counts) {
  const std::size_t L = counts.size();
  std::vector<FasttextModel::Node> tree(2 * L - 1, {-1, -1});
  std::vector<std::int64_t> count(2 * L - 1, no_count);
  std::copy(counts.begin(), counts.end(), count.begin());
  auto leaf = static_cast<std::int64_t>(L) - 1;
  std::size_t node = L;
  for (std::size_t i = L; i < 2 * L - 1; ++i) {
    std::int32_t least[2];
    for (std::int32_t& m : least) {
      const bool is_leaf = leaf >= 0 && count[static_cast<std::size_t>(leaf)] < count[node];
      m = is_leaf ? static_cast<std::int32_t>(leaf--) : static_cast<std::int32_t>(node++);
    }
    tree[i] = {least[0], least[1]};
    count[i] = count[static_cast<std::size_t>(least[0])] + count[static_cast<std::size_t>(least[1])];
  }
  return tree;
}

}  // namespace

void FasttextMatrix::row(std::size_t i, float* out) const noexcept {
  if (!coded()) {
    std::memcpy(out, values.data() + i * dim, dim * sizeof(float));
    return;
  }
  for (std::size_t s = 0; s < subs; ++s) {
    const std::size_t width = s + 1 == subs ? dim - step * (subs - 1) : step;
    const float* c = centroids.data() + s * 256 * step + codes[i * subs + s] * width;
    std::memcpy(out + s * step, c, width * sizeof(float));
  }
}

std::int32_t FasttextModel::find(std::string_view word, std::uint32_t hash) const noexcept {
  const std::size_t mask = slots.size() - 1;
  for (std::size_t s = hash & mask;; s = (s + 1) & mask) {
    if (slots[s].id < 0) return -1;
    if (slots[s].hash == hash && entry(static_cast<std::size_t>(slots[s].id)) == word) return slots[s].id;
  }
}

FasttextModel::FasttextModel(const std::uint8_t* data, std::size_t bytes) {
  Reader in(data, bytes);
  if (bytes < 8 || in.take<std::int32_t>("header") != magic) fail("it is no fastText model");
  const auto version = in.take<std::int32_t>("header");
  if (version != 11 && version != 12) fail("its format is " + std::to_string(version) + "; 11 and 12 are known");

  std::int32_t a[12];
  for (std::int32_t& value : a) value = in.take<std::int32_t>("settings");
  in.take<double>("settings");  // sampling threshold, of training alone
  if (a[7] != 3) fail("it is not a supervised model");
  if (a[0] < 1) fail("it has " + std::to_string(a[0]) + " columns");
  if (a[6] < 1 || a[6] > 4) fail("its loss has number " + std::to_string(a[6]) + "; 1 to 4 are known");
  D = static_cast<std::size_t>(a[0]);
  word_ngrams = a[5], loss = static_cast<FasttextLoss>(a[6]), minn = a[9], maxn = version == 11 ? 0 : a[10];
  if (word_ngrams > max_ngram || maxn > max_ngram) fail("its n-grams are longer than " + std::to_string(max_ngram));
  if (a[8] < 0 || (a[8] == 0 && (maxn > 0 || word_ngrams > 1))) fail("it has n-grams and no buckets for them");
  bucket = static_cast<std::uint32_t>(a[8]);

  const auto size = in.take<std::int32_t>("dictionary"), words = in.take<std::int32_t>("dictionary"),
             labels = in.take<std::int32_t>("dictionary");
  in.take<std::int64_t>("dictionary");  // tokens it was trained on
  const auto prune = in.take<std::int64_t>("dictionary");
  if (words < 0 || labels < 1 || static_cast<std::int64_t>(words) + labels != size)
    fail("its dictionary has " + std::to_string(size) + " entries for " + std::to_string(words) + " words and " +
         std::to_string(labels) + " labels");
  if (static_cast<std::size_t>(size) > in.left() / 10) fail("the file ends inside its dictionary");
  num_words = static_cast<std::size_t>(words), L = static_cast<std::size_t>(labels);
  std::vector<std::int64_t> counts;
  std::int64_t sum = 0;
  text_at.push_back(0);
  for (std::size_t i = 0; i < num_words + L; ++i) {
    const std::string_view word = in.zero_ended("dictionary");
    const auto count = in.take<std::int64_t>("dictionary");
    const auto type = in.take<std::int8_t>("dictionary");
    if (type != (i < num_words ? 0 : 1)) fail("its dictionary does not hold the words first and then the labels");
    text.insert(text.end(), word.begin(), word.end());
    text_at.push_back(text.size());
    if (i < num_words) continue;
    if (count < 0 || count >= no_count - sum) fail("a label's count is out of range");
    sum += count;
    counts.push_back(count);
  }
  slots.assign(std::bit_ceil(2 * (num_words + L)), {0, -1});
  for (std::size_t i = 0; i < num_words + L; ++i) {  // of two equal entries the last one counts
    const std::uint32_t h = fnv(entry(i));
    std::size_t s = h & (slots.size() - 1);
    while (slots[s].id >= 0 && entry(static_cast<std::size_t>(slots[s].id)) != entry(i)) s = (s + 1) & (slots.size() - 1);
    slots[s] = {h, static_cast<std::int32_t>(i)};
  }

  pruned = prune >= 0;
  std::vector<std::pair<std::int32_t, std::int32_t>> pairs;
  if (pruned) {
    if (static_cast<std::size_t>(prune) > in.left() / 8) fail("the file ends inside its pruned buckets");
    if (bucket > max_bucket) fail("a pruned model may have " + std::to_string(max_bucket) + " buckets at most");
    for (std::int64_t i = 0; i < prune; ++i) {
      const auto from = in.take<std::int32_t>("pruned buckets"), to = in.take<std::int32_t>("pruned buckets");
      if (from < 0 || static_cast<std::uint32_t>(from) >= bucket || to < 0) fail("a pruned bucket is out of range");
      pairs.emplace_back(from, to);
    }
  }

  const bool coded = flag(in, "input matrix");
  if (pruned && !coded) fail("it is pruned and not quantised");
  input = read_matrix(in, coded, D, true, "input matrix");
  const bool output_coded = flag(in, "output matrix") && coded;
  output = read_matrix(in, output_coded, D, false, "output matrix");
  if (output.rows != L) fail("its output matrix has another number of rows than there are labels");
  if (input.rows > static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) fail("it has too many rows");
  if (input.rows < num_words + (pruned ? 0 : bucket)) fail("its input matrix has too few rows");
  if (output.coded()) fail("its output matrix is too large");

  if (pruned) {
    std::stable_sort(pairs.begin(), pairs.end(), [](const auto& x, const auto& y) { return x.first < y.first; });
    kept.assign(bucket / 64 + 1, {0, 0});
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      if (i + 1 < pairs.size() && pairs[i + 1].first == pairs[i].first) continue;
      const std::size_t r = num_words + static_cast<std::size_t>(pairs[i].second);
      if (r >= input.rows) fail("a pruned bucket's row is out of range");
      const auto b = static_cast<std::uint32_t>(pairs[i].first);
      kept[b >> 6].bits |= std::uint64_t{1} << (b & 63);
      kept_row.push_back(static_cast<std::int32_t>(r));
    }
    std::uint32_t rank = 0;
    for (Kept& k : kept) {
      k.rank = rank;
      rank += static_cast<std::uint32_t>(__builtin_popcountll(k.bits));
    }
  }
  word_at.push_back(0);
  std::string framed;
  for (std::size_t w = 0; w < num_words; ++w) {
    word_rows.push_back(static_cast<std::int32_t>(w));
    if (maxn > 0 && entry(w) != "</s>") {
      framed.assign(1, '<').append(entry(w)).push_back('>');
      fasttext_ngrams(framed, minn, maxn, bucket, [&](std::uint32_t b) {
        const std::int32_t r = row_of_bucket(b);
        if (r >= 0) word_rows.push_back(r);
      });
    }
    word_at.push_back(word_rows.size());
  }
  if (loss == FasttextLoss::hierarchical) tree = build_tree(counts);
}

}  // namespace fasttrain::filter
