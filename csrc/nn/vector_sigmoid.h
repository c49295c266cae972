#pragma once /* part of the ops of nn */
// 1 / (1 + exp(-x)) from exp(-|x|), which cannot overflow; exactly 0 or 1 at an infinity.

FT_INLINE V exp_minus_abs(V x) noexcept { return exp_nonpositive(if_negative(x, x, sub(zero(), x))); }

FT_INLINE V sigmoid(V x) noexcept {
  const V e = exp_minus_abs(x), one = set1(1.0f);
  return div(if_negative(x, e, one), add(one, e));
}
