#pragma once /* part of unigram */
// The best path through a stretch, and by how much it is the best.

#include <cstddef>
#include <cstdint>
#include <limits>

#include "tokenizer/sentencepiece_model.h"

namespace fasttrain::tokenizer {

inline constexpr float unigram_lowest = 100000.0F;  // sums below minus this count on from zero

// Sum: float32 as sentencepiece adds, float64 as Hugging Face tokenizers does.
template <typename Sum>
struct UnigramFound {
  std::size_t count;  // ids
  Sum margin;         // least of the nodes on the best path: whether another one were better by rounding
  bool is_known;      // no unknown character is among them
};

// Of a stretch that begins with the sum `sum`, which becomes that at its end; ids at `out`.
UnigramFound<float> unigram_search(const SentencePieceModel& m, SentencePieceModel::Worker& w, const std::uint8_t* text,
                                   std::size_t size, float& sum, std::uint32_t* out);
UnigramFound<double> unigram_search(const SentencePieceModel& m, SentencePieceModel::Worker& w, const std::uint8_t* text,
                                    std::size_t size, double& sum, std::uint32_t* out);

// By how much rounding can move the difference of two sums in a stretch of so many bytes that begins with a sum of this
// size at most: each addition rounds by half a step at the magnitude of the sums, on both paths. Twice that, for
// certainty.
template <typename Sum>
inline Sum unigram_uncertainty(const SentencePieceModel& m, std::size_t bytes, Sum sum_size) noexcept {
  const auto n = static_cast<Sum>(bytes + 1);
  return Sum{2} * n * (sum_size + n * static_cast<Sum>(m.max_abs_score)) * std::numeric_limits<Sum>::epsilon();
}

}  // namespace fasttrain::tokenizer
