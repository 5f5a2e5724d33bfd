// The obvious answers in double, and how far from them a correct result may lie.
#pragma once

#include <string>
#include <vector>

#include "arrays.h"
#include "epilogue.h"

namespace sparsecore::testing {

// The relative bound of a sum of so many terms, in any order, fused or not: gamma_k = k u / (1 - k
// u) (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1).
double gamma(Index terms, DType dtype);
double unit_roundoff(DType dtype);
double smallest_subnormal(DType dtype);

// The dtype that products with a right side of `x` are summed in, and that of the result.
DType summed_in(DType values, DType x);
DType result_dtype(DType values, DType x);

// What an element must be, and how far off it may be: what the sums of `terms` products are, given
// the sum of their magnitudes, and then `dtype`'s rounding. int32 must be exact.
struct Expected {
  double value = 0;
  double tolerance = 0;

  // Whether `got` is that: NaN for NaN, and the same infinity.
  bool is_met_by(double got) const;
};
Expected sum_of(double value, double magnitude, Index terms, DType dtype);

// The parts of an epilogue, those absent null.
struct EpilogueParts {
  const Array* scale = nullptr;
  const Array* bias = nullptr;
  const Dense* residual = nullptr;
  Activation activation = Activation::kNone;

  Epilogue view() const;
};

// Empty where y is epilogue(a x); else the first element that is not.
std::string product_mismatch(const Sparse& a, const Dense& x, const EpilogueParts& epilogue,
                             const Dense& y);

// Empty where `got` holds u v^T at a's entries.
std::string sampled_mismatch(const Sparse& a, const Dense& u, const Dense& v, const Array& got);

// Empty where `got` is the pattern of `a`, in the smallest widths that hold it.
std::string structure_mismatch(const Sparse& a, const CsrStructure& got);

}  // namespace sparsecore::testing
