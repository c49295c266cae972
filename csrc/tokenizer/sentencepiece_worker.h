#pragma once /* part of sentencepiece_bpe */
// What one thread keeps of a SentencePiece model between texts.

#include <cstdint>
#include <memory>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/piece_cache.h"
#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

struct SentencePieceModel::Worker {
  Worker(std::size_t cache_bytes, std::size_t first_buckets) : cache_bytes_(cache_bytes), first_buckets_(first_buckets) {}

  // BPE: the symbols of a stretch, a list of what is left of them, and the pairs that may merge.
  struct Symbol {
    const std::uint8_t* bytes;
    std::uint32_t size;  // 0: part of the symbol before it
    std::int32_t previous, next;
    bool frozen;
  };
  struct Pair {
    float score;
    std::int32_t left, right;
    std::uint32_t size;
    bool operator<(const Pair& other) const noexcept {  // of a heap whose top merges next
      return score < other.score || (score == other.score && left > other.left);
    }
  };
  std::vector<Symbol> symbols;
  std::vector<Pair> agenda;
  std::unordered_map<std::string_view, std::uint32_t> made;  // unused piece -> bytes of the left one that made it

  // Unigram: the best path to each place of the text, with sums of one kind or the other.
  template <typename Sum>
  struct Node {
    Sum score;
    std::int32_t start;
    std::uint32_t id;
    Sum margin;  // by how much it is better than the second best path to here
  };
  std::vector<Node<float>> path;
  std::vector<Node<double>> wide_path;

  // Of stretches met before: BPE's ids; Unigram's ids, and the margin as the tag.
  PieceCache& cache() {
    if (!cache_) cache_ = std::make_unique<PieceCache>(cache_bytes_, first_buckets_);
    return *cache_;
  }

 private:
  std::size_t cache_bytes_, first_buckets_;
  std::unique_ptr<PieceCache> cache_;
};

}  // namespace fasttrain::tokenizer
