#pragma once /* part of sentencepiece_bpe */
// What one thread keeps of a SentencePiece model between texts.

#include <cstdint>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

struct SentencePieceModel::Worker {
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

  // Unigram: the best path to each place of the text.
  struct Node {
    float score;
    std::int32_t start;
    std::uint32_t id;
  };
  std::vector<Node> path;

  // Ids of stretches of at most max_bytes bytes and max_ids ids, one place each by hash: the newer takes it. 2.3 MiB.
  struct Entry {
    std::uint8_t length, count;  // length 0: empty
    std::uint8_t bytes[38];
    std::uint32_t ids[8];
  };
  static constexpr std::size_t max_bytes = sizeof(Entry::bytes), max_ids = 8;
  Entry& place(const std::uint8_t* bytes, std::size_t size) {
    if (cache_.empty()) cache_.resize(std::size_t{1} << 15);
    return cache_[hash(bytes, size) >> 49];
  }

 private:
  std::vector<Entry> cache_;
};

}  // namespace fasttrain::tokenizer
