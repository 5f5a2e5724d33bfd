// Activations in place, a vector at a time; the last elements of a run by a masked one, so that an
// element's bits do not depend on where it stands.
//
// Phi(x) - 1/2 = x p(x^2) / q(x^2) for |x| <= 5.4, beyond which fp32 cannot tell Phi from 0 and 1;
// a quotient costs half of what exp and a division do.
// 2^x = 2^n 2^f, n the nearest whole number (Muller, Elementary Functions, 3rd ed., section 11.1).
// The coefficients are fitted in float64 by least squares, reweighted until the largest error is
// least: 6e-9 of Phi, 9e-8 relative of 2^f. Errors, rounding included: gelu 3e-7 of |x|, as of
// x (1 + erf(x / sqrt 2)) / 2; silu 4e-7 of the result, rising to 4e-6 at -88.
#pragma once

#include <cstdint>

#include "simd.h"

namespace sparsecore::SPARSECORE_TARGET {

using FloatBits = Vec<std::int32_t>;

// v * 2^n, v in 0.5 ... 2, n a whole number in -150 ... 128: rounded once, down to subnormal
// numbers and zero, up to infinity.
SPARSECORE_INLINE Vec<float> times_two_to(Vec<float> v, Vec<float> n) {
#if defined(__AVX512F__)
  return _mm512_scalef_ps(v, n);
#else  // in two steps, as 2^n may be no normal number
  const FloatBits power = __builtin_convertvector(n, FloatBits), half = power >> 1;
  const FloatBits first = (half + 127) << 23, second = (power - half + 127) << 23;
  using Floats = Vec<float>;
  return v * reinterpret_cast<Floats>(first) * reinterpret_cast<Floats>(second);
#endif
}

// 2^x; NaN passes.
SPARSECORE_INLINE Vec<float> exp2_of(Vec<float> x) {
  constexpr float kLowest = -151.0f, kHighest = 128.5f;  // 0 and infinity
  constexpr float kRounder = 12582912.0f;                // 1.5 * 2^23: units are its last bits
  x = x < kLowest ? broadcast(kLowest) : x;
  x = x > kHighest ? broadcast(kHighest) : x;
  const Vec<float> n = (x + kRounder) - kRounder, f = x - n;
  Vec<float> p = f * 1.326469663e-3f + 9.671534133e-3f;
  p = p * f + 5.550734012e-2f;
  p = p * f + 2.402224176e-1f;
  p = p * f + 6.931469773e-1f;
  return times_two_to(p * f + 1.0f, n);
}

// x * Phi(x) (Hendrycks and Gimpel, Gaussian Error Linear Units, 2016, section 2).
SPARSECORE_INLINE Vec<float> gelu_of(Vec<float> x) {
  constexpr float kMost = 29.16f;
  Vec<float> u = x * x;
  u = u > kMost ? broadcast(kMost) : u;
  Vec<float> p = u * 2.33958911e-8f + 6.35829936e-6f, q = u * 1.21672864e-6f + 7.23432897e-5f;
  p = p * u + 1.64154489e-4f;
  q = q * u + 1.85804698e-3f;
  p = p * u + 4.64984561e-3f;
  q = q * u + 2.83695491e-2f;
  p = p * u + 3.33564490e-2f;
  q = q * u + 2.50278329e-1f;
  p = p * u + 3.98942247e-1f;
  q = q * u + 1.0f;
  Vec<float> half = x * (p / q);
  half = half > 0.5f ? broadcast(0.5f) : half;
  half = half < -0.5f ? broadcast(-0.5f) : half;
  return x * (half + 0.5f);
}

// x / (1 + exp(-x)) (the same, section 4).
SPARSECORE_INLINE Vec<float> silu_of(Vec<float> x) {
  return x / (exp2_of(x * -1.44269504f) + 1.0f);
}

// sums[i] = f(sums[i]).
template <class F>
SPARSECORE_INLINE void for_each_vector(float* sums, std::int64_t n, F f) {
  std::int64_t i = 0;
  for (; i + kLanes<float> <= n; i += kLanes<float>) store(sums + i, f(load(sums + i)));
  if (i == n) return;
  const LaneMask<float> rest(n - i);
  store(sums + i, f(load(sums + i, rest)), rest);
}

template <class Acc>
void gelu_all(Acc* sums, std::int64_t n) {
  if constexpr (__is_same(Acc, float)) {
    for_each_vector(sums, n, [](Vec<float> x) { return gelu_of(x); });
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      const double v = double(sums[i]);
      sums[i] = Acc(0.5 * v * (1.0 + __builtin_erf(v * 0.70710678118654752440)));
    }
  }
}

template <class Acc>
void silu_all(Acc* sums, std::int64_t n) {
  if constexpr (__is_same(Acc, float)) {
    for_each_vector(sums, n, [](Vec<float> x) { return silu_of(x); });
  } else {
    for (std::int64_t i = 0; i < n; ++i) {
      const double v = double(sums[i]);
      sums[i] = Acc(v / (1.0 + __builtin_exp(-v)));
    }
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
