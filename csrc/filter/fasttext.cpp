#include "filter/fasttext.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "core/parallel.h"

namespace fasttrain::filter {
namespace {

constexpr std::string_view end_of_line = "</s>", label_prefix = "__label__";

bool is_space(std::uint8_t c) noexcept { return c == ' ' || (c >= '\t' && c <= '\r') || c == 0; }

float safe_log(float x) noexcept { return static_cast<float>(std::log(static_cast<double>(x) + 1e-5)); }

// fastText reads its sigmoid from a table of 513 values between -8 and 8.
float table_sigmoid(float x) noexcept {
  static const auto table = [] {
    std::array<float, 513> t{};
    for (int i = 0; i < 513; ++i) {
      const float at = static_cast<float>(i * 16) / 512 - 8;
      t[static_cast<std::size_t>(i)] = static_cast<float>(1.0 / (1.0 + std::exp(-at)));
    }
    return t;
  }();
  if (!(x >= -8)) return 0;  // not a number: weights of a foreign file
  if (x > 8) return 1;
  return table[static_cast<std::size_t>((x + 8) * 512 / 8 / 2)];
}

using Pair = std::pair<float, std::int32_t>;
bool likelier(const Pair& a, const Pair& b) noexcept { return a.first > b.first; }

class Predictor {
 public:
  Predictor(const FasttextModel& m, std::size_t K) : m_(m), K_(K), hidden_(m.D), row_(m.D), scores_(m.L) {}

  void operator()(std::string_view text, std::int32_t* labels, float* probs) {
    collect(text);
    heap_.clear();
    if (!rows_.empty()) {
      mean();
      score();
    }
    for (std::size_t k = 0; k < K_; ++k) {
      const bool there = k < heap_.size();
      labels[k] = there ? heap_[k].second : -1;
      probs[k] = there ? std::exp(heap_[k].first) : 0;
    }
  }

  const std::vector<std::int32_t>& rows(std::string_view text) {
    collect(text);
    return rows_;
  }

 private:
  void collect(std::string_view text) {
    rows_.clear(), hashes_.clear();
    const std::size_t size = text.size();
    bool ended = false;
    for (std::size_t i = 0; i < size && !ended;) {
      while (i < size && is_space(static_cast<std::uint8_t>(text[i]))) ++i;
      const std::size_t begin = i;
      std::uint32_t h = fnv_seed;
      for (; i < size && !is_space(static_cast<std::uint8_t>(text[i])); ++i) h = fnv_step(h, text[i]);
      if (i > begin) {
        const std::string_view token = text.substr(begin, i - begin);
        add(token, h);
        ended = token == end_of_line;  // fastText stops there, as at a line break
      }
    }
    if (!ended) add(end_of_line, fnv(end_of_line));
    for (std::size_t i = 0; m_.word_ngrams > 1 && i < hashes_.size(); ++i) {
      auto h = static_cast<std::uint64_t>(std::int64_t{hashes_[i]});
      const std::size_t stop = std::min(hashes_.size(), i + static_cast<std::size_t>(m_.word_ngrams));
      for (std::size_t j = i + 1; j < stop; ++j) {
        h = h * 116049371 + static_cast<std::uint64_t>(std::int64_t{hashes_[j]});
        push(static_cast<std::uint32_t>(h % m_.bucket));
      }
    }
  }

  void push(std::uint32_t bucket) {
    const std::int32_t r = m_.row_of_bucket(bucket);
    if (r >= 0) rows_.push_back(r);
  }

  void add(std::string_view token, std::uint32_t h) {
    const std::int32_t id = m_.find(token, h);
    if (id < 0) {
      if (token.starts_with(label_prefix)) return;
      if (m_.maxn > 0 && token != end_of_line) {
        framed_.assign(1, '<').append(token).push_back('>');
        fasttext_ngrams(framed_, m_.minn, m_.maxn, m_.bucket, [this](std::uint32_t b) { push(b); });
      }
    } else {
      const auto w = static_cast<std::size_t>(id);
      if (w >= m_.num_words) return;  // a label
      rows_.insert(rows_.end(), m_.word_rows.begin() + static_cast<std::ptrdiff_t>(m_.word_at[w]),
                   m_.word_rows.begin() + static_cast<std::ptrdiff_t>(m_.word_at[w + 1]));
    }
    hashes_.push_back(static_cast<std::int32_t>(h));
  }

  // Row after row: another order would give other roundings than fastText's.
  template <std::size_t Fixed>
  void sum_fixed() {
    std::array<float, Fixed> total{};
    for (const std::int32_t r : rows_) {
      const float* row = m_.input.values.data() + static_cast<std::size_t>(r) * Fixed;
      for (std::size_t d = 0; d < Fixed; ++d) total[d] += row[d];
    }
    std::copy(total.begin(), total.end(), hidden_.begin());
  }

  void mean() {
    const std::size_t D = m_.D;
    if (!m_.input.coded() && D == 16) {
      sum_fixed<16>();
    } else {
      std::fill(hidden_.begin(), hidden_.end(), 0.0f);
      for (const std::int32_t r : rows_) {
        const float* row = m_.input.values.data() + static_cast<std::size_t>(r) * D;
        float norm = 1;
        if (m_.input.coded()) {
          m_.input.row(static_cast<std::size_t>(r), row_.data());
          row = row_.data();
          if (!m_.input.norms.empty()) norm = m_.input.norms[static_cast<std::size_t>(r)];
        }
        for (std::size_t d = 0; d < D; ++d) hidden_[d] += norm * row[d];
      }
    }
    const auto factor = static_cast<float>(1.0 / static_cast<double>(rows_.size()));
    for (float& v : hidden_) v *= factor;
  }

  float product(std::size_t i) const noexcept {
    const float* row = m_.output.values.data() + i * m_.D;
    float sum = 0;
    for (std::size_t d = 0; d < m_.D; ++d) sum += row[d] * hidden_[d];
    return m_.output.norms.empty() ? sum : sum * m_.output.norms[i];
  }

  void offer(float score, std::int32_t label) {
    if (heap_.size() == K_ && score < heap_.front().first) return;
    heap_.emplace_back(score, label);
    std::push_heap(heap_.begin(), heap_.end(), likelier);
    if (heap_.size() > K_) {
      std::pop_heap(heap_.begin(), heap_.end(), likelier);
      heap_.pop_back();
    }
  }

  void score() {
    const std::size_t L = m_.L;
    if (m_.loss == FasttextLoss::hierarchical) {
      descend();
    } else {
      for (std::size_t i = 0; i < L; ++i) scores_[i] = product(i);
      if (m_.loss == FasttextLoss::softmax) {
        const float most = *std::max_element(scores_.begin(), scores_.end());
        float sum = 0;
        for (float& s : scores_) {
          s = static_cast<float>(std::exp(static_cast<double>(s - most)));
          sum += s;
        }
        for (float& s : scores_) s /= sum;
      } else {
        for (float& s : scores_) s = table_sigmoid(s);
      }
      for (std::size_t i = 0; i < L; ++i) offer(safe_log(scores_[i]), static_cast<std::int32_t>(i));
    }
    std::sort_heap(heap_.begin(), heap_.end(), likelier);
  }

  // Depth first, left before right, with a stack of its own: a tree of a foreign file may be as deep as it has labels.
  void descend() {
    static const float lowest = safe_log(0);
    stack_.clear();
    stack_.emplace_back(0.0f, static_cast<std::int32_t>(m_.tree.size()) - 1);
    while (!stack_.empty()) {
      const auto [score, node] = stack_.back();
      stack_.pop_back();
      if (score < lowest || (heap_.size() == K_ && score < heap_.front().first)) continue;
      const FasttextModel::Node& n = m_.tree[static_cast<std::size_t>(node)];
      if (n.left < 0) {
        offer(score, node);
        continue;
      }
      const float f = 1.0f / (1.0f + std::exp(-product(static_cast<std::size_t>(node) - m_.L)));
      stack_.emplace_back(score + safe_log(f), n.right);
      stack_.emplace_back(score + safe_log(static_cast<float>(1.0 - static_cast<double>(f))), n.left);
    }
  }

  const FasttextModel& m_;
  std::size_t K_;
  std::vector<float> hidden_, row_, scores_;
  std::vector<std::int32_t> rows_, hashes_;
  std::vector<Pair> heap_, stack_;
  std::string framed_;
};

bool begins_char(std::uint8_t c) noexcept { return (c & 0xC0) != 0x80; }

std::size_t head_bytes(const std::uint8_t* text, std::size_t size, std::size_t max_chars) noexcept {
  if (size <= max_chars) return size;
  std::size_t chars = 0;
  for (std::size_t i = 0; i < size; ++i)
    if (begins_char(text[i]) && ++chars > max_chars) return i;
  return size;
}

void predict(const FasttextPredictArgs& a) noexcept {
  parallel_ranges(a.N, 64, a.threads, [&](std::size_t begin, std::size_t end) {
    Predictor one(*a.model, a.K);
    for (std::size_t n = begin; n < end; ++n) {
      const std::uint8_t* text = a.data + a.offsets[n];
      const std::size_t size = head_bytes(text, static_cast<std::size_t>(a.offsets[n + 1] - a.offsets[n]), a.max_chars);
      one({reinterpret_cast<const char*>(text), size}, a.labels + n * a.K, a.probs + n * a.K);
    }
  });
}

void rows(const FasttextRowsArgs& a) noexcept {
  parallel_ranges(a.N, 64, a.threads, [&](std::size_t begin, std::size_t end) {
    Predictor one(*a.model, 1);
    for (std::size_t n = begin; n < end; ++n) {
      const auto size = static_cast<std::size_t>(a.offsets[n + 1] - a.offsets[n]);
      const auto& found = one.rows({reinterpret_cast<const char*>(a.data + a.offsets[n]), size});
      a.counts[n] = static_cast<std::int64_t>(found.size());
      if (a.rows != nullptr) std::copy(found.begin(), found.end(), a.rows + a.places[n]);
    }
  });
}

void windows(const FasttextWindowsArgs& a) noexcept {
  parallel_ranges(a.N, 64, a.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t n = begin; n < end; ++n) {
      const std::int64_t from = a.offsets[n], to = a.offsets[n + 1];
      const auto chars_of_all = static_cast<std::size_t>(
          std::count_if(a.data + from, a.data + to, [](std::uint8_t c) { return begins_char(c); }));
      const std::size_t wanted = std::max(a.min_chars, (chars_of_all + a.W - 1) / a.W);
      std::int64_t* ends = a.ends + n * a.W;
      std::size_t count = 0, chars = 0;
      for (std::int64_t i = from; i < to && count + 1 < a.W; ++i) {
        chars += begins_char(a.data[i]);
        if (a.data[i] != '\n' || chars < wanted) continue;
        ends[count++] = i + 1;
        chars = 0;
      }
      // What is left is a window of its own, or too short and part of the one before.
      const std::int64_t last = count == 0 ? from : ends[count - 1];
      if (last < to) {
        const auto rest = std::count_if(a.data + last, a.data + to, [](std::uint8_t c) { return begins_char(c); });
        if (count > 0 && static_cast<std::size_t>(rest) < a.min_chars) --count;
        ends[count++] = to;
      }
      a.counts[n] = static_cast<std::int64_t>(count);
    }
  });
}

constexpr Impl<FasttextFns> impls[] = {{"portable", Isa::any, {predict, rows, windows}}};

}  // namespace

std::span<const Impl<FasttextFns>> fasttext_impls() { return impls; }

}  // namespace fasttrain::filter
