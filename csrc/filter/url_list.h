#pragma once
// Lists of domains, URLs and words as sorted sets of 128-bit hashes, and the lookup of origins in them.
//
//   read:  bytes of a list file -> one hash for each entry, in its normal form (two for a URL without a scheme)
//   sort:  hashes -> sorted, unique, with the places where each bucket of leading bits begins
//   find:  N origins -> 1 a domain at or above the host is listed, 2 the URL is, 3 a word between non-letters is; else 0
//
// A hash stands for its text: at 5 million entries and 10^10 lookups a false answer has a chance of 10^-22. 16 bytes an
// entry and at most 4 for the buckets; a lookup reads about three cache lines. What needs Unicode (hosts that are not ASCII
// or hold "%") is reported as odd, and the face asks again with the host in ASCII form. Normal forms: url_list_ref.py.
// The caller allocates and has checked every shape.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::filter {

enum ListKind : int { list_domains, list_urls };

struct Hash128 {
  std::uint64_t low, high;  // of murmur3_128
};

struct UrlReadArgs {
  const std::uint8_t* data;  // (S,)    lines
  Hash128* out;              // (L,)    out; L = url_list_room(data, S, kind)
  std::int64_t* odd;         // (L, 2)  out: entries that are odd, [begin, end) in data; they get no hash
  std::int64_t* counts;      // (2,)    out: hashes, odd entries
  std::size_t S;
  int kind;
};

struct UrlSortArgs {
  const Hash128* in;       // (M,)
  Hash128* out;            // (M,)      out: sorted by (low, high), the first `count` of them unique
  std::int64_t* starts;    // (B + 1,)  out: entries whose low >> (64 - bits) is b are out[starts[b], starts[b + 1])
  std::int64_t* count;     // (1,)      out
  std::size_t M;
  int bits;                // B = 1 << bits
};

struct HashSet {
  const Hash128* hashes;       // (M,)
  const std::int64_t* starts;  // (B + 1,)
  int bits;
  std::size_t M;
};

struct UrlFindArgs {
  const std::uint8_t* data;     // (S,)
  const std::int64_t* offsets;  // (N+1,)  origin n is data[offsets[n], offsets[n+1])
  std::uint8_t* out;            // (N,)    out: 0..3
  std::uint8_t* odd;            // (N,)    out: 1 where the host is not ASCII or holds "%"
  HashSet domains, urls, words;
  const std::int64_t* word_bytes;  // (W,)    lengths of words that occur, rising
  std::size_t N, W;
  int threads;
};

struct UrlListFns {
  void (*read)(const UrlReadArgs&);
  void (*sort)(const UrlSortArgs&);
  void (*find)(const UrlFindArgs&);
};

// Entries that a file may have at most.
std::size_t url_list_room(const std::uint8_t* data, std::size_t bytes, int kind) noexcept;

std::span<const Impl<UrlListFns>> url_list_impls();  // best first

}  // namespace fasttrain::filter
