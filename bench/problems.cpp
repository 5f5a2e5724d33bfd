#include "problems.h"

#include <cstring>
#include <numeric>
#include <random>
#include <utility>

#include "dense_convert.h"

namespace sparsecore::bench {
namespace {

double dot(const float* a, const float* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

double dot_of_magnitudes(const float* a, const float* b, std::int64_t n) {
  double sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += std::fabs(double{a[i]} * double{b[i]});
  return sum;
}

}  // namespace

MatrixView Dense::view() const {
  return {const_cast<float*>(values.data()), DType::kFloat32, rows, cols, cols, 1};
}

Dense random_dense(std::int64_t rows, std::int64_t cols, unsigned seed) {
  Dense m(rows, cols);
  std::mt19937 bits(seed);
  // Odd multiples of 2^-23: exact in fp32 and never zero.
  for (float& v : m.values) v = (static_cast<float>(bits() >> 9) + 0.5f) * 0x1p-22f - 1.0f;
  return m;
}

Sparse random_sparse(std::int64_t rows, std::int64_t cols, int percent, unsigned seed) {
  Dense dense = random_dense(rows, cols, seed);
  std::vector<std::size_t> place(dense.values.size());
  std::iota(place.begin(), place.end(), std::size_t{0});
  std::mt19937_64 bits(seed);
  const std::int64_t zeros = (dense.size() * percent + 50) / 100;
  for (std::size_t i = 0; i < static_cast<std::size_t>(zeros); ++i) {
    std::swap(place[i], place[i + bits() % (place.size() - i)]);
    dense.values[place[i]] = 0;
  }
  auto [structure, items] = csr_from_dense(dense.view(), 1);
  AlignedVector<float> values(static_cast<std::size_t>(structure->nnz()));
  std::memcpy(values.data(), items.data(), values.size() * sizeof(float));
  return {std::move(dense), std::move(structure), std::move(values)};
}

Dense transposed(const Dense& m) {
  Dense t(m.cols, m.rows);
  for (std::int64_t r = 0; r < m.rows; ++r) {
    for (std::int64_t c = 0; c < m.cols; ++c) t.row(c)[r] = m.row(r)[c];
  }
  return t;
}

std::string Reference::mismatch(const float* got) const {
  for (std::size_t i = 0; i < value.size(); ++i) {
    if (std::fabs(double{got[i]} - value[i]) <= bound[i]) continue;
    return "entry " + std::to_string(i) + " is " + std::to_string(got[i]) + ", expected " +
           std::to_string(value[i]) + " within " + std::to_string(bound[i]);
  }
  return {};
}

Reference product(const Dense& a, const Dense& x) {
  Reference reference;
  std::vector<double> sum(static_cast<std::size_t>(x.cols)), magnitude(sum);
  for (std::int64_t r = 0; r < a.rows; ++r) {
    std::fill(sum.begin(), sum.end(), 0.0);
    std::fill(magnitude.begin(), magnitude.end(), 0.0);
    std::int64_t terms = 0;
    for (std::int64_t k = 0; k < a.cols; ++k) {
      const double value = a.row(r)[k];
      if (value == 0) continue;
      ++terms;
      for (std::int64_t j = 0; j < x.cols; ++j) {
        const double term = value * double{x.row(k)[j]};
        sum[static_cast<std::size_t>(j)] += term;
        magnitude[static_cast<std::size_t>(j)] += std::fabs(term);
      }
    }
    reference.value.insert(reference.value.end(), sum.begin(), sum.end());
    for (const double m : magnitude) reference.bound.push_back(fp32_bound(terms, m));
  }
  return reference;
}

Reference sampled(const Sparse& a, const Dense& u, const Dense& v) {
  Reference reference;
  for (std::int64_t r = 0; r < a.dense.rows; ++r) {
    for (std::int64_t c = 0; c < a.dense.cols; ++c) {
      if (a.dense.row(r)[c] == 0) continue;
      reference.value.push_back(dot(u.row(r), v.row(c), u.cols));
      reference.bound.push_back(fp32_bound(u.cols, dot_of_magnitudes(u.row(r), v.row(c), u.cols)));
    }
  }
  return reference;
}

}  // namespace sparsecore::bench
