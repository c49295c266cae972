#pragma once /* part of attention */
// Where things lie and who sees whom: what every implementation shares. Included inside the namespace of each.

template <typename T>
const T* at(const Strided& x, std::size_t b, std::size_t t, std::size_t h) noexcept {
  return static_cast<const T*>(x.data) + b * x.b + t * x.t + h * x.h;
}

// Of a contiguous (B, T, heads, D).
template <typename T>
T* at(void* x, std::size_t b, std::size_t T_, std::size_t t, std::size_t heads, std::size_t h, std::size_t D) noexcept {
  return static_cast<T*>(x) + ((b * T_ + t) * heads + h) * D;
}

// Keys that queries see: [lo[i], hi[i]).
struct Ranges {
  const std::int32_t *lo, *hi;
};

inline Ranges ranges_of(const AttentionArgs& p, std::size_t b, std::size_t q0) noexcept {
  const std::size_t first = (p.Bm == 1 ? 0 : b) * p.Tq + q0;
  return {p.lo + first, p.hi + first};
}

struct Range {
  int begin, end;
};

// What rows [0, rows) see: the union of their ranges, cut to [begin, end).
inline Range seen(const Ranges& of, int rows, int begin, int end) noexcept {
  Range r{end, begin};
  for (int i = 0; i < rows; ++i) {
    if (of.lo[i] >= of.hi[i]) continue;
    r.begin = of.lo[i] < r.begin ? of.lo[i] : r.begin;
    r.end = of.hi[i] > r.end ? of.hi[i] : r.end;
  }
  r.begin = r.begin < begin ? begin : r.begin;
  r.end = r.end > end ? end : r.end;
  return r;
}

// What each of the rows [0, rows) sees of `all`, their union; empty where one sees nothing.
inline Range seen_by_all(const Ranges& of, int rows, Range all) noexcept {
  for (int i = 0; i < rows; ++i) {
    all.begin = of.lo[i] > all.begin ? of.lo[i] : all.begin;
    all.end = of.hi[i] < all.end ? of.hi[i] : all.end;
  }
  return all;
}

// The rows among [0, rows) that see one of the keys [begin, end), as a range.
inline Range seeing(const Ranges& of, int rows, int begin, int end) noexcept {
  Range r{0, rows};
  while (r.begin < r.end && (of.lo[r.begin] >= end || of.hi[r.begin] <= begin)) ++r.begin;
  while (r.end > r.begin && (of.lo[r.end - 1] >= end || of.hi[r.end - 1] <= begin)) --r.end;
  return r;
}
