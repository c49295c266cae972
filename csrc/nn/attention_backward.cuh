#pragma once /* part of attention */
// What the two backwards share: which blocks of queries see a block of keys.

#include <climits>

#include "nn/attention_cuda.h"
#include "nn/attention_tile.cuh"

namespace fasttrain::nn {

// Of a block of queries: the keys [begin, end) that any of them sees, [all_from, all_to) that all of them see.
struct QueryRange {
  int begin, end, all_from, all_to;
};

// Queries of `rows`: whole blocks.
__host__ __device__ inline std::size_t padded_queries(std::size_t Tq) {
  return (Tq + attention_range_block - 1) / attention_range_block * attention_range_block;
}

// The blocks of queries [first, stop) outside of which none sees one of the keys [first_key, last_key); every mask that
// is made of documents and the causal order has no other blocks between. A warp looks at 32 at a time.
struct Blocks {
  int first, stop;
};
__device__ inline Blocks blocks_that_see(const QueryRange* ranges, int blocks, int first_key, int last_key) {
  int first = INT_MAX, stop = 0;
  for (int block = static_cast<int>(threadIdx.x) % 32; block < blocks; block += 32) {
    const QueryRange r = ranges[block];
    if (r.begin < last_key && r.end > first_key) first = min(first, block), stop = max(stop, block + 1);
  }
  first = __reduce_min_sync(~0u, first), stop = __reduce_max_sync(~0u, stop);
  return {stop > 0 ? first : 0, stop};
}

}  // namespace fasttrain::nn
