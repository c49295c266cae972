#pragma once /* part of attention */
// Scores as they go into the softmax, over the vectors of vector_*.h.

// tanh within 3 ulp: Cephes' polynomial below 0.625, (1 - e^-2|y|) / (1 + e^-2|y|) above; NaN stays.
FT_INLINE V tanh_of(V y) noexcept {
  const V one = set1(1.0f), size = max(sub(zero(), y), y), z = mul(y, y);
  V small = set1(-5.70498872745e-3f);
  small = add(mul(small, z), set1(2.06390887954e-2f));
  small = add(mul(small, z), set1(-5.37397155531e-2f));
  small = add(mul(small, z), set1(1.33314422036e-1f));
  small = add(mul(small, z), set1(-3.33332819422e-1f));
  small = add(mul(mul(small, z), y), y);
  const V e = exp_nonpositive(mul(set1(-2.0f), size));
  const V large = div(sub(one, e), add(one, e));
  return if_negative(sub(size, set1(0.625f)), small, if_negative(y, sub(zero(), large), large));
}

// c tanh(x / c).
FT_INLINE V softcapped(V x, float cap) noexcept { return mul(set1(cap), tanh_of(div(x, set1(cap)))); }

// The derivative of that by x, from its value: 1 - (value / c)^2.
FT_INLINE V softcap_slope(V value, float cap) noexcept {
  const V t = div(value, set1(cap));
  return sub(set1(1.0f), mul(t, t));
}
