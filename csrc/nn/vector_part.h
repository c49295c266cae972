#pragma once /* part of the ops of nn */
// Loads and stores of W values, or of the first n of them. Which one is known when it is compiled: a call to memcpy in
// a loop, even one never taken, would put every vector that lives across it into memory.

template <bool whole, typename T>
FT_INLINE V load_n(const T* p, [[maybe_unused]] std::size_t n) noexcept {
  if constexpr (whole)
    return load(p);
  else
    return load_part(p, n);
}
template <bool whole, typename T>
FT_INLINE void store_n(T* p, V v, [[maybe_unused]] std::size_t n) noexcept {
  if constexpr (whole)
    store(p, v);
  else
    store_part(p, v, n);
}
