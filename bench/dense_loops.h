// Dense loops that the sparse kernels are set against: the textbook order that streams memory, left
// to the compiler, neither blocked nor packed. They are naive. A tuned library (BLAS) is two to
// eight times as fast; sparsecore.bench compares with one.
#pragma once

#include <algorithm>
#include <cstdint>

#include "problems.h"

namespace sparsecore::bench {

// Sums kept side by side, so that neither the order of additions nor their latency holds the
// compiler's vectors back: 8 vectors of 8 floats.
constexpr std::int64_t kSums = 64;

inline float sum_of(float (&sums)[kSums]) {
  for (std::int64_t half = kSums / 2; half > 0; half /= 2) {
    for (std::int64_t i = 0; i < half; ++i) sums[i] += sums[half + i];
  }
  return sums[0];
}

inline float contiguous_dot(const float* a, const float* b, std::int64_t n) {
  float sums[kSums] = {};
  std::int64_t i = 0;
  for (; i + kSums <= n; i += kSums) {
    for (std::int64_t s = 0; s < kSums; ++s) sums[s] += a[i + s] * b[i + s];
  }
  for (; i < n; ++i) sums[0] += a[i] * b[i];
  return sum_of(sums);
}

// Not inlined: a compiler that saw the loops around it could exchange them.
// y[i * y_stride] += value * x[i * x_stride]
[[gnu::noinline]] inline void add_line(float value, const float* x, std::int64_t x_stride, float* y,
                                       std::int64_t y_stride, std::int64_t n) {
  if (x_stride == 1 && y_stride == 1) {
    float* __restrict to = y;
    for (std::int64_t i = 0; i < n; ++i) to[i] += value * x[i];
    return;
  }
  for (std::int64_t i = 0; i < n; ++i) y[i * y_stride] += value * x[i * x_stride];
}

// y = a x
inline void dense_product(const Dense& a, const Dense& x, Dense& y) {
  if (x.cols == 1) {
    for (std::int64_t r = 0; r < a.rows; ++r) {
      *y.row(r) = contiguous_dot(a.row(r), x.values.data(), a.cols);
    }
    return;
  }
  std::fill(y.values.begin(), y.values.end(), 0.0f);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    float* __restrict to = y.row(r);
    for (std::int64_t k = 0; k < a.cols; ++k) {
      const float value = a.row(r)[k];
      const float* from = x.row(k);
      for (std::int64_t j = 0; j < x.cols; ++j) to[j] += value * from[j];
    }
  }
}

// y = a^T x
inline void dense_transposed_product(const Dense& a, const Dense& x, Dense& y) {
  std::fill(y.values.begin(), y.values.end(), 0.0f);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const float* from = x.row(r);
    for (std::int64_t c = 0; c < a.cols; ++c) {
      const float value = a.row(r)[c];
      float* __restrict to = y.row(c);
      for (std::int64_t j = 0; j < x.cols; ++j) to[j] += value * from[j];
    }
  }
}

}  // namespace sparsecore::bench
