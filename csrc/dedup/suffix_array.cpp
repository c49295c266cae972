// SA-IS: sort the LMS substrings by inducing, name them, sort the string of names by the same means where names repeat,
// induce all suffixes from the sorted LMS suffixes. The recursion lives inside `sa`. An implicit sentinel, smaller than
// any byte, ends the text, so the last suffix is of type L.

#include "dedup/suffix_array.h"

#include <algorithm>
#include <array>
#include <vector>

namespace fasttrain::dedup {
namespace {

using Int = std::int32_t;

template <typename T>
class Sorter {
 public:
  Sorter(const T* s, Int* sa, Int n, Int letters)
      : s_(s), sa_(sa), n_(n), is_s_(at(n)), count_(at(letters)), bucket_(at(letters)) {}

  void sort() {
    for (Int i = n_ - 2; i >= 0; --i) is_s_[at(i)] = s_[i] < s_[i + 1] || (s_[i] == s_[i + 1] && is_s_[at(i + 1)]);
    for (Int i = 0; i < n_; ++i) ++count_[letter(i)];

    std::fill(sa_, sa_ + n_, -1);
    tails();
    for (Int i = 1; i < n_; ++i)
      if (is_lms(i)) sa_[--bucket_[letter(i)]] = i;
    induce();

    Int m = 0;  // LMS suffixes, sorted by their LMS substrings, at the front
    for (Int i = 0; i < n_; ++i)
      if (is_lms(sa_[i])) sa_[m++] = sa_[i];
    const Int names = name(m);
    Int *string = sa_ + n_ - m, filled = n_;  // names in the order of the text, at the end
    for (Int i = n_ - 1; i >= m; --i)
      if (sa_[i] >= 0) sa_[--filled] = sa_[i];
    if (names < m) {
      Sorter<Int>(string, sa_, m, names).sort();
    } else {
      for (Int i = 0; i < m; ++i) sa_[string[i]] = i;
    }
    for (Int i = 1, k = 0; i < n_; ++i)
      if (is_lms(i)) string[k++] = i;
    for (Int i = 0; i < m; ++i) sa_[i] = string[sa_[i]];

    std::fill(sa_ + m, sa_ + n_, -1);
    tails();
    for (Int i = m - 1; i >= 0; --i) {
      const Int j = sa_[i];
      sa_[i] = -1;
      sa_[--bucket_[letter(j)]] = j;
    }
    induce();
  }

 private:
  static std::size_t at(Int i) { return static_cast<std::size_t>(i); }
  std::size_t letter(Int i) const { return static_cast<std::size_t>(s_[i]); }
  bool is_lms(Int i) const { return i > 0 && is_s_[at(i)] && !is_s_[at(i - 1)]; }

  void heads() {
    Int sum = 0;
    for (std::size_t c = 0; c < count_.size(); ++c) {
      bucket_[c] = sum;
      sum += count_[c];
    }
  }

  void tails() {
    Int sum = 0;
    for (std::size_t c = 0; c < count_.size(); ++c) bucket_[c] = sum += count_[c];
  }

  // Every S suffix is written before the scan from the right reads its place, so LMS entries need no clearing.
  void induce() {
    heads();
    sa_[bucket_[letter(n_ - 1)]++] = n_ - 1;
    for (Int i = 0; i < n_; ++i) {
      const Int j = sa_[i] - 1;
      if (j >= 0 && !is_s_[at(j)]) sa_[bucket_[letter(j)]++] = j;
    }
    tails();
    for (Int i = n_ - 1; i >= 0; --i) {
      const Int j = sa_[i] - 1;
      if (j >= 0 && is_s_[at(j)]) sa_[--bucket_[letter(j)]] = j;
    }
  }

  // Names of the m LMS substrings go to sa[m + position / 2] (LMS positions are never neighbours). Returns how many.
  Int name(Int m) {
    std::fill(sa_ + m, sa_ + n_, -1);
    Int names = 0;
    for (Int i = 0; i < m; ++i) {
      if (i == 0 || !same(sa_[i - 1], sa_[i])) ++names;
      sa_[m + sa_[i] / 2] = names - 1;
    }
    return names;
  }

  bool same(Int a, Int b) const {
    for (Int k = 0;; ++k) {
      if (a + k >= n_ || b + k >= n_) return false;
      if (s_[a + k] != s_[b + k] || is_s_[at(a + k)] != is_s_[at(b + k)]) return false;
      if (k > 0 && (is_lms(a + k) || is_lms(b + k))) return is_lms(a + k) && is_lms(b + k);
    }
  }

  const T* s_;
  Int *sa_, n_;
  std::vector<bool> is_s_;
  std::vector<Int> count_, bucket_;
};

}  // namespace

void suffix_array_scalar(const SuffixArrayArgs& p) noexcept {
  const auto n = static_cast<Int>(p.n);
  if (n == 0) return;
  Sorter<std::uint8_t>(p.text, p.sa, n, 256).sort();

  std::vector<Int> permuted(p.n);  // first the suffix before each one in the order, then their common prefix
  for (Int k = 0; k < n; ++k) permuted[static_cast<std::size_t>(p.sa[k])] = k == 0 ? -1 : p.sa[k - 1];
  Int common = 0;
  for (Int i = 0; i < n; ++i) {
    Int& entry = permuted[static_cast<std::size_t>(i)];
    const Int before = entry;
    if (before < 0) {
      common = 0;
    } else {
      while (std::max(i, before) + common < n && p.text[i + common] == p.text[before + common]) ++common;
    }
    entry = common;
    common = std::max(0, common - 1);
  }
  for (Int k = 0; k < n; ++k) p.lcp[k] = permuted[static_cast<std::size_t>(p.sa[k])];
}

std::span<const Impl<SuffixArrayFn>> suffix_array_impls() {
  static constexpr std::array<Impl<SuffixArrayFn>, 1> impls{{{"scalar", Isa::any, suffix_array_scalar}}};
  return impls;
}

}  // namespace fasttrain::dedup
