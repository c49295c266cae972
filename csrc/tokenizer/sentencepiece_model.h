#pragma once /* part of sentencepiece_bpe */
// A SentencePiece model made ready for encoding: pieces by their bytes, and a trie of them.   V pieces.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <string_view>
#include <vector>

#include "tokenizer/byte_trie.h"
#include "tokenizer/cjk_cuts.h"
#include "tokenizer/sentencepiece_merges.h"

namespace fasttrain::tokenizer {

struct SentencePieceModelArgs {
  const std::uint8_t* piece_data;     // (S,)    bytes of the pieces that text can be; others are empty
  const std::int64_t* piece_offsets;  // (V+1,)
  const float* scores;                // (V,)
  const std::uint8_t* kinds;          // (V,)    1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte
  const std::uint32_t* byte_ids;      // (256,)  or null: no byte fallback
  const std::uint32_t* pairs;    // (M,2)  a list of merges in the place of scores, and what they give
  const std::uint32_t* results;  // (M,)   or null: scores say what merges
  const double* wide_scores;     // (V,)   or null: what Unigram counts is float32, as sentencepiece has it
  double wide_min;               // of all pieces, those that text cannot be among them
  bool splits_words;             // U+2581 always begins a word, and sums count from zero in each
  std::size_t V, M;
  std::uint32_t unk_id;  // none: of byte fallback that no piece stands for
  std::size_t cache_bytes = std::size_t{1} << 27;  // of each worker, at most
  // 8 MB: growing to them costs a tenth of a pass over as much text, and with half as many the words of 4 MB of English
  // push each other out. A power of two.
  std::size_t first_buckets = 1 << 17;
};

class SentencePieceModel {
 public:
  static constexpr std::uint8_t user_defined = 4, unused = 5;
  static constexpr std::uint32_t none = 0xFFFFFFFF;
  static constexpr float unk_penalty = 10.0F;  // of Unigram, under the lowest score

  explicit SentencePieceModel(const SentencePieceModelArgs&);
  ~SentencePieceModel();

  // Id of the piece of these bytes; none.
  std::uint32_t find(const std::uint8_t* bytes, std::size_t size) const noexcept {
    if (size > longest) return none;
    const std::uint64_t h = hash(bytes, size);
    for (std::size_t i = h & mask_;; i = (i + 1) & mask_) {
      const Slot& slot = slots_[i];
      if (slot.id == none) return none;
      if (slot.hash == static_cast<std::uint32_t>(h >> 32) && offsets_[slot.id + 1] - offsets_[slot.id] == size &&
          std::memcmp(data_.data() + offsets_[slot.id], bytes, size) == 0)
        return slot.id;
    }
  }

  // All pieces that text can be but unused ones; extra is the bits of the score that Unigram counts.
  const ByteTrie& trie() const noexcept { return trie_; }

  // Bytes of a piece that text can be; empty: of another.
  std::string_view text(std::size_t id) const noexcept {
    return {reinterpret_cast<const char*>(data_.data()) + offsets_[id], offsets_[id + 1] - offsets_[id]};
  }
  // What Unigram counts for a piece that text can be, and for a character that is none.
  template <typename Sum>
  Sum unigram_score(std::uint32_t id) const noexcept {
    if constexpr (sizeof(Sum) == sizeof(float))
      return unigram_scores_[id];
    else
      return wide_scores_[id];
  }
  template <typename Sum>
  Sum unknown_score() const noexcept {
    if constexpr (sizeof(Sum) == sizeof(float))
      return min_score - unk_penalty;
    else
      return wide_min_ - static_cast<double>(unk_penalty);
  }
  // Whether what an unknown character gives has the score that counts: of a float64 model, a byte may be a piece as well.
  bool remembers_unknown() const noexcept { return !is_wide() && unk_id < kinds.size(); }
  bool is_wide() const noexcept { return !wide_scores_.empty(); }
  // Made when the first text asks; nullptr: the pieces do not allow it.
  const SentencePieceMerges* merges() const;
  // Places between characters that no piece reaches over: what stands on both sides is encoded as if it were alone.
  const CjkCuts& cuts() const noexcept { return cuts_; }
  // Whether a character begins at `right`, behind `left`, and the two bytes follow each other in no piece.
  bool is_edge(std::uint8_t left, std::uint8_t right) const noexcept {
    const unsigned pair = right << 8 | left;  // as two bytes of a text are in one load
    return edges_[pair >> 6] >> (pair & 63) & 1;
  }

  // Bytes of the user-defined symbol that begins here (the longest); 0.
  std::size_t symbol(const std::uint8_t* at, const std::uint8_t* end) const noexcept;
  bool may_be_symbol(const std::uint8_t* at, const std::uint8_t* end) const noexcept {
    return symbol_bytes_[*at] && (end - at < 2 || symbol_bytes_[*at] == 1 || symbol_bytes_[*at] == at[1]);
  }

  // What one thread keeps between calls: its scratch, and the ids of stretches that it met.
  struct Worker;
  std::unique_ptr<Worker> take();
  void give_back(std::unique_ptr<Worker> worker);

  static std::uint64_t hash(const std::uint8_t* bytes, std::size_t size) noexcept {
    std::uint64_t h = size * 0x9E3779B97F4A7C15ULL;
    std::size_t i = 0;
    for (; i + 8 <= size; i += 8) h = mix(h, load(bytes + i, 8));
    return mix(h, load(bytes + i, size - i));
  }

  std::vector<float> scores;
  std::vector<std::uint8_t> kinds;
  std::vector<std::uint32_t> byte_ids;  // empty: no byte fallback
  std::vector<std::uint32_t> listed_pairs, listed_results;
  bool has_list;
  std::uint32_t unk_id;
  float min_score;            // of normal pieces
  float max_abs_score = 0;    // of all that Unigram counts, an unknown character's among them
  std::size_t longest = 0;     // bytes
  bool has_unused = false;
  bool splits_words;
  bool opens_with_space = true;  // U+2581 stands only in front of other characters, so no piece crosses into a new word

 private:
  struct Slot {
    std::uint32_t hash, id;
  };
  static std::uint64_t load(const std::uint8_t* bytes, std::size_t size) noexcept {
    std::uint64_t value = 0;
    std::memcpy(&value, bytes, size);
    return value;
  }
  static std::uint64_t mix(std::uint64_t h, std::uint64_t value) noexcept {
    h = (h ^ value) * 0xD6E8FEB86659FD93ULL;
    return h ^ h >> 32;
  }
  void add_symbol(const std::uint8_t* symbol, std::size_t size);
  void index_pieces();
  void make_trie();

  std::vector<std::uint8_t> data_;
  std::vector<std::size_t> offsets_;
  std::vector<Slot> slots_;
  std::size_t mask_ = 0;
  ByteTrie trie_;
  std::vector<float> unigram_scores_;
  std::vector<double> wide_scores_;
  double wide_min_;
  std::size_t cache_bytes_, first_buckets_;
  CjkCuts cuts_;
  std::array<std::uint64_t, 1024> edges_;
  mutable std::once_flag merges_made_;
  mutable std::unique_ptr<const SentencePieceMerges> merges_;
  std::vector<std::size_t> symbol_sizes_;  // of user-defined pieces, falling
  // By the first byte of user-defined pieces: 0 there is none, else their second byte where it is one, else 1.
  std::array<std::uint8_t, 256> symbol_bytes_{};
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> idle_;
};

// Bytes of the character that begins here, as its first byte says, inside [at, end).
inline std::size_t char_bytes(const std::uint8_t* at, const std::uint8_t* end) noexcept {
  const std::size_t size = *at < 0xC0 ? 1 : *at < 0xE0 ? 2 : *at < 0xF0 ? 3 : 4;
  return size < static_cast<std::size_t>(end - at) ? size : static_cast<std::size_t>(end - at);
}

struct SentencePieceArgs {
  SentencePieceModel* model;
  const std::uint8_t* data;     // (S',)   the column's whole buffer
  const std::int64_t* offsets;  // (N+1,)  text n is data[offsets[n], offsets[n+1])
  std::uint32_t* ids;           // (S,)    out: the ids, one text after another
  std::int64_t* ends;           // (N+1,)  out: text n is ids[ends[n], ends[n+1])
  std::size_t N;
  int threads;
};

// Ids of the text [at, end) at `out`; returns their number, at most one a byte.
using EncodeSentence = std::size_t (*)(const SentencePieceModel&, SentencePieceModel::Worker&, const std::uint8_t* at,
                                       const std::uint8_t* end, std::uint32_t* out);
void encode_sentences(const SentencePieceArgs&, EncodeSentence one) noexcept;

// Ids of one piece at `out`: its own, or its bytes, or the unknown. Returns their number.
inline std::size_t emit_piece(const SentencePieceModel& m, std::uint32_t id, const std::uint8_t* bytes,
                              std::size_t size, std::uint32_t* out) noexcept {
  if (id != m.unk_id || m.byte_ids.empty()) {
    *out = id;
    return 1;
  }
  for (std::size_t i = 0; i < size; ++i) out[i] = m.byte_ids[bytes[i]];
  return size;
}

}  // namespace fasttrain::tokenizer
