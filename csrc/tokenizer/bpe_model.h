#pragma once /* part of bpe_encode */
// A byte-level BPE vocabulary made ready for encoding: pair -> rank, and each worker's cache of pieces already encoded.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_backtrack.h"
#include "tokenizer/cjk_cuts.h"
#include "tokenizer/pair_table.h"
#include "tokenizer/piece_cache.h"

namespace fasttrain::tokenizer {

struct BpeModelArgs {
  const std::uint8_t* token_data;     // bytes of all tokens; an empty one is never emitted whole
  const std::int64_t* token_offsets;  // (V+1,)
  const std::uint32_t* pairs;         // (M, 2)  left and right id of each merge
  const std::uint32_t* ranks;         // (M,)    lower merges first
  const std::uint32_t* id_of_rank;    // (R,)    what a merge of that rank gives
  const std::uint32_t* byte_ids;      // (256,)
  const std::uint8_t* added_data;     // texts that are tokens wherever they occur, when a call asks for them
  const std::int64_t* added_offsets;  // (A+1,)
  const std::uint32_t* added_ids;     // (A,)
  std::size_t V, M, R, A;
  int pattern;         // Pattern::number
  bool ignore_merges;  // a piece that is a token is that token, whatever the merges say
  std::size_t cache_bytes;  // of each worker, at most
  // Of long pieces that a worker merges by the heap, some 0.2 us a byte, before backtracking's tables are built.
  std::size_t merge_bytes = 1 << 16;
  std::size_t first_buckets = 1 << 12;  // of a worker's cache, a power of two
};

class BpeModel {
 public:
  struct Worker {
    Worker(std::size_t cache_bytes, std::size_t first_buckets) : cache(cache_bytes, first_buckets) {}
    PieceCache cache;
    std::vector<std::uint32_t> ids, ranks, prev, next;  // of long pieces
    std::vector<std::uint64_t> heap;
    BpeBacktrack::Scratch backtrack;
    std::size_t long_bytes = 0;
  };

  explicit BpeModel(const BpeModelArgs& args);

  // Ids of one piece, without the cache; `out` has room for one id a byte. Returns their number.
  std::size_t encode_piece(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w) const;

  std::unique_ptr<Worker> take_worker();  // a warm one when there is one
  void give_back(std::unique_ptr<Worker> worker);

  // The token that the whole piece is, when merging would not give it; no_rank: none.
  std::uint32_t whole(const std::uint8_t* piece, std::size_t bytes) const {
    if (whole_.empty()) return no_rank;
    const auto it = whole_.find(std::string_view(reinterpret_cast<const char*>(piece), bytes));
    return it == whole_.end() ? no_rank : it->second;
  }

  bool has_whole() const noexcept { return !whole_.empty(); }

  int pattern() const noexcept { return pattern_; }
  const PairTable& table() const noexcept { return table_; }
  const CjkCuts& cuts() const noexcept { return cuts_; }
  // The id of each full group of the pattern's digits, by its number; nullptr: some are no token.
  const std::uint32_t* digit_ids() const noexcept { return digit_ids_.empty() ? nullptr : digit_ids_.data(); }
  const AddedTokens& added() const noexcept { return added_; }
  // Most vocabularies number what merges give in their order: then no memory is asked.
  std::uint32_t id_of_rank(std::uint32_t rank) const noexcept {
    return is_in_order_ ? rank + first_id_ : id_of_rank_[rank];
  }
  const std::uint32_t* byte_ids() const noexcept { return byte_ids_.data(); }
  const std::uint32_t* byte_pair_ranks() const noexcept { return byte_pair_rank_.data(); }

 private:
  void seed(PieceCache& cache) const;
  void add_cuts(const BpeModelArgs& args);
  void add_digits();
  const BpeBacktrack* backtrack() const;
  // Both merge until `stop` symbols are left, if they come so far.
  std::size_t merge_short(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out,
                          std::size_t stop) const noexcept;
  std::size_t merge_long(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w,
                         std::size_t stop) const;
  std::size_t merge(const std::uint8_t* piece, std::size_t bytes, std::uint32_t* out, Worker& w,
                    std::size_t stop) const;

  PairTable table_;
  std::vector<std::uint32_t> id_of_rank_, byte_ids_;
  bool is_in_order_ = true;  // the id of a rank is the rank + first_id_, at all ranks of merges
  std::uint32_t first_id_ = 0;
  std::vector<std::uint32_t> byte_pair_rank_;  // (256, 256): a piece's first ranks without hashing
  std::vector<std::uint8_t> token_bytes_;
  std::vector<std::int64_t> token_offsets_;
  std::vector<std::uint32_t> seeds_;  // short tokens that are the ids of their own bytes: a new cache starts with them
  // Tokens that merges do not give; pieces that are one need the look-up. Empty unless ignore_merges.
  std::unordered_map<std::string_view, std::uint32_t> whole_;
  std::vector<std::uint32_t> digit_ids_;
  CjkCuts cuts_;
  AddedTokens added_;
  std::vector<BpeBacktrack::Token> made_;  // what `backtrack_` is built of when a long piece first asks
  mutable std::once_flag built_;
  mutable std::unique_ptr<const BpeBacktrack> backtrack_;
  int pattern_;
  std::size_t cache_bytes_, merge_bytes_, first_buckets_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> idle_;
};

}  // namespace fasttrain::tokenizer
