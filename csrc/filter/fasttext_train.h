#pragma once
// Training of a supervised fastText model with softmax (Joulin et al. 2016): stochastic gradient descent, one text after
// another, the rate falling linearly with the tokens read.
//
//   rows of a text -> mean h (D,) -> p = softmax(W h) -> for the label's y: W += rate (y - p) h', rows += rate W'(y - p) / rows of the text
//
// Texts arrive as rows of the input matrix (the face has made the dictionary and the n-grams), so that this is arithmetic
// alone. One thread: the same bytes whatever the machine; fastText's own threads race. Without the division by the number
// of rows, scores of long texts are all 0 or 1 and the order among them is lost (AUC 0.985 where it is now 0.9999). Definition: fasttext_train_ref.py. The caller has checked all indices.

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/impl.h"

namespace fasttrain::filter {

struct FasttextTrainArgs {
  float* input;                 // (V, D)  in and out
  float* output;                // (L, D)  in and out
  const std::int32_t* rows;     // (R,)    text n has rows[offsets[n], offsets[n+1])
  const std::int64_t* offsets;  // (N+1,)
  const std::int32_t* labels;   // (N,)
  const std::int64_t* order;    // (M,)    texts in the order in which they are read
  const float* rates;           // (M,)    rate of each step
  float* scratch;               // (2 D + L,)
  double* loss;                 // (1,)    out: sum of -log p(label)
  std::size_t D, L, M;
};

struct FasttextTrainFns {
  void (*steps)(const FasttextTrainArgs&) noexcept;
};

std::span<const Impl<FasttextTrainFns>> fasttext_train_impls();  // best first

}  // namespace fasttrain::filter
