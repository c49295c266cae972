#pragma once
// The one place that knows OpenMP. `threads` is always given by the caller (the face passes torch's or the recipe's
// count), so a rank never takes more cores than it owns. Without OpenMP the same loop runs on one thread.

#include <cstddef>

#ifdef _OPENMP
#include <omp.h>
#endif

namespace fasttrain {

// body(i) for every i in [0, n), in any order; items are handed out one at a time (documents differ a lot in length).
template <typename Body>
void parallel_for(std::size_t n, int threads, const Body& body) {
#ifdef _OPENMP
  if (threads > 1 && n > 1) {
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (std::size_t i = 0; i < n; ++i) body(i);
    return;
  }
#endif
  (void)threads;
  for (std::size_t i = 0; i < n; ++i) body(i);
}

// body(begin, end) over ranges of at most `grain` items: for work that wants scratch kept between items.
template <typename Body>
void parallel_ranges(std::size_t n, std::size_t grain, int threads, const Body& body) {
  const std::size_t ranges = grain == 0 ? 0 : (n + grain - 1) / grain;
  parallel_for(ranges, threads, [&](std::size_t r) {
    const std::size_t begin = r * grain, end = begin + grain < n ? begin + grain : n;
    body(begin, end);
  });
}

}  // namespace fasttrain
