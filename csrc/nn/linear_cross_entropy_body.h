#pragma once /* part of linear_cross_entropy */
// The algorithm, written once over the vectors of vector_*.h, for logits of type T.

constexpr std::size_t K = 4;  // independent maxima and sums: one chain would wait for each

template <typename T>
FT_KERNEL float row_max(const T* logits, std::size_t n) noexcept {
  V tops[K];
  for (auto& top : tops) top = set1(-INFINITY);
  std::size_t i = 0;
  for (; i + K * W <= n; i += K * W)
#pragma GCC unroll 4
    for (std::size_t k = 0; k < K; ++k) tops[k] = max(tops[k], load(logits + i + k * W));
  float top = hmax(max(max(tops[0], tops[1]), max(tops[2], tops[3])));
  for (; i < n; ++i) top = to_float(logits[i]) > top ? to_float(logits[i]) : top;
  return top;
}

// Sum of exp(logits - top).
template <typename T>
FT_KERNEL float row_sum(const T* logits, float top, std::size_t n) noexcept {
  V sums[K] = {zero(), zero(), zero(), zero()};
  const V t = set1(top);
  std::size_t i = 0;
  for (; i + K * W <= n; i += K * W)
#pragma GCC unroll 4
    for (std::size_t k = 0; k < K; ++k) sums[k] = add(sums[k], exp_nonpositive(sub(load(logits + i + k * W), t)));
  for (; i + W <= n; i += W) sums[0] = add(sums[0], exp_nonpositive(sub(load(logits + i), t)));
  float sum = hsum(add(add(sums[0], sums[1]), add(sums[2], sums[3])));
  if (i < n) {
    float last[W];  // only the first n - i: what lies behind them read as 0, whose exponential is not
    store(last, exp_nonpositive(sub(load_part(logits + i, n - i), t)));
    for (std::size_t j = 0; j < n - i; ++j) sum += last[j];
  }
  return sum;
}

// logits = scale exp(logits - top).
template <typename T>
FT_KERNEL void to_gradient(T* logits, float top, float scale, std::size_t n) noexcept {
  const V t = set1(top), s = set1(scale);
  std::size_t i = 0;
  for (; i + W <= n; i += W) store(logits + i, mul(s, exp_nonpositive(sub(load(logits + i), t))));
  if (i < n) {
    const V v = load_part(static_cast<const T*>(logits) + i, n - i);
    store_part(logits + i, mul(s, exp_nonpositive(sub(v, t))), n - i);
  }
}

template <typename T>
FT_KERNEL void row(const LinearCrossEntropyArgs& p, std::size_t i) noexcept {
  T* logits = static_cast<T*>(p.logits) + i * p.V;
  if (p.targets[i] == ignored_target) {
    p.nll[i] = p.z2[i] = 0.0f;
    if (p.gradient) std::memset(logits, 0, p.V * sizeof(T));
    return;
  }
  const auto target = static_cast<std::size_t>(p.targets[i]);
  const float top = row_max(static_cast<const T*>(logits), p.V);
  const float sum = row_sum(static_cast<const T*>(logits), top, p.V);
  const float picked = to_float(logits[target]), log_sum = std::log(sum), lse = top + log_sum;
  p.nll[i] = (top - picked) + log_sum;  // not lse - picked, whose rounding is that of lse
  p.z2[i] = lse * lse;
  if (!p.gradient) return;
  const float dnll = p.dnll ? p.dnll[i] : 1.0f, dz2 = p.dz2 ? p.dz2[i] : p.z_loss;
  const float scale = (dnll + 2.0f * lse * dz2) / sum;
  to_gradient(logits, top, scale, p.V);
  const V at = exp_nonpositive(set1(picked - top));  // the same value as its neighbours had, before it was rounded
  float p_target[W];
  store(p_target, at);
  logits[target] = from_float<T>(scale * p_target[0] - dnll);
}

void rows(const LinearCrossEntropyArgs& p) noexcept {
  const std::size_t grain = p.V >= 16384 ? 1 : 16384 / (p.V + 1) + 1;  // enough work to hand out
  parallel_ranges(p.N, grain, p.threads, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) p.bf16 ? row<Bf16>(p, i) : row<float>(p, i);
  });
}
