// Random matrices with an exact number of nonzeros, and what products of them are in double.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "formats.h"

namespace sparsecore::bench {

// Cache-line aligned, as torch's tensors are: otherwise every 64-byte load is two.
template <class T>
struct LineAligned {
  using value_type = T;
  static constexpr std::align_val_t kAlign{64};

  LineAligned() = default;
  template <class U>
  LineAligned(const LineAligned<U>&) {}  // NOLINT(google-explicit-constructor): allocators convert

  T* allocate(std::size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), kAlign)); }
  void deallocate(T* p, std::size_t) { ::operator delete(p, kAlign); }
  bool operator==(const LineAligned&) const { return true; }
};

template <class T>
using AlignedVector = std::vector<T, LineAligned<T>>;

// A row-major fp32 matrix.
struct Dense {
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  AlignedVector<float> values;

  Dense(std::int64_t r, std::int64_t c)
      : rows(r), cols(c), values(static_cast<std::size_t>(r * c)) {}
  const float* row(std::int64_t r) const { return values.data() + r * cols; }
  float* row(std::int64_t r) { return values.data() + r * cols; }
  std::int64_t size() const { return rows * cols; }
  MatrixView view() const;
};

// The same matrix dense and as CSR.
struct Sparse {
  Dense dense;
  std::shared_ptr<const CsrStructure> structure;
  AlignedVector<float> values;

  CsrView view() const { return structure->view(values.data(), DType::kFloat32); }
};

// Values in [-1, 1) without zeros. The same seed gives the same matrix.
Dense random_dense(std::int64_t rows, std::int64_t cols, unsigned seed);
// round(rows * cols * (100 - percent) / 100) nonzeros at random places.
Sparse random_sparse(std::int64_t rows, std::int64_t cols, int percent, unsigned seed);
Dense transposed(const Dense& m);

// Products in double, and how far fp32 may be from each: (terms + 1) * 2^-24 * sum |a||b|
// (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), terms being the nonzero
// ones: the others add nothing, hence no error either.
struct Reference {
  std::vector<double> value;
  std::vector<double> bound;

  // Empty if all is within the bound, else the first entry that is not.
  std::string mismatch(const float* got) const;
};

inline double fp32_bound(std::int64_t terms, double magnitude) {
  constexpr double kRoundoff = std::numeric_limits<float>::epsilon() / 2;
  return static_cast<double>(terms + 1) * kRoundoff * magnitude;
}

Reference product(const Dense& a, const Dense& x);                   // a x
Reference sampled(const Sparse& a, const Dense& u, const Dense& v);  // u v^T at a's entries

}  // namespace sparsecore::bench
