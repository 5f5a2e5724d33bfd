#include "oracle.h"

#include <algorithm>
#include <cmath>
#include <sstream>

namespace sparsecore::testing {
namespace {

struct Precision {
  int digits, least_exponent;  // of a number, and of the smallest one
};

Precision precision_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat64:
      return {53, -1074};
    case DType::kFloat32:
      return {24, -149};
    case DType::kFloat16:
      return {11, -24};
    case DType::kBFloat16:
      return {8, -133};
    default:
      return {0, 0};
  }
}

double activated(double v, Activation activation) {
  switch (activation) {
    case Activation::kNone:
      return v;
    case Activation::kRelu:
      return v < 0 ? 0 : v;
    case Activation::kGelu:
      return 0.5 * v * (1 + std::erf(v / std::sqrt(2.0)));
    case Activation::kSilu:
      return v / (1 + std::exp(-v));
  }
  return v;
}

std::string difference(Index row, Index col, double got, const Expected& wanted) {
  std::ostringstream text;
  text.precision(17);
  text << "element (" << row << ", " << col << ") is " << got << ", expected " << wanted.value
       << " within " << wanted.tolerance;
  return text.str();
}

// The activations stretch an error by at most 1.13 (the largest slope of gelu; silu's is 1.10).
// Their own is a few units of the last place of what they are applied to.
Expected finished(double sum, double magnitude, Index terms, Index row, Index col,
                  const EpilogueParts& epilogue, DType values, DType result) {
  const DType acc = result == DType::kInt32 ? result : summed_in(values, result);
  const double factor = epilogue.scale != nullptr ? epilogue.scale->get(row) : 1;
  const Expected product = sum_of(sum * factor, magnitude * std::abs(factor), terms, acc);
  double value = product.value, parts = std::abs(value);
  for (const double part : {epilogue.bias != nullptr ? epilogue.bias->get(row) : 0,
                            epilogue.residual != nullptr ? epilogue.residual->get(row, col) : 0}) {
    value += part;
    parts += std::abs(part);
  }
  if (result == DType::kInt32) return {value, 0};
  double tolerance = product.tolerance + gamma(4, acc) * parts;
  if (epilogue.activation != Activation::kNone) {
    tolerance = 1.13 * (tolerance + gamma(8, acc) * std::abs(value));
    value = activated(value, epilogue.activation);
  }
  return {value, tolerance + unit_roundoff(result) * std::abs(value) + smallest_subnormal(result)};
}

}  // namespace

double unit_roundoff(DType dtype) { return std::ldexp(1.0, -precision_of(dtype).digits); }
double smallest_subnormal(DType dtype) {
  return std::ldexp(1.0, precision_of(dtype).least_exponent);
}

double gamma(Index terms, DType dtype) {
  const double share = static_cast<double>(terms) * unit_roundoff(dtype);
  return share / (1 - share);
}

DType result_dtype(DType values, DType x) {
  return values == DType::kInt8 && x == DType::kInt8 ? DType::kInt32 : x;
}

DType summed_in(DType values, DType x) {
  if (result_dtype(values, x) == DType::kInt32) return DType::kInt32;
  return x == DType::kFloat64 ? x : DType::kFloat32;
}

bool Expected::is_met_by(double got) const {
  if (std::isnan(value)) return std::isnan(got);
  if (std::isinf(value)) return got == value;
  return std::abs(got - value) <= tolerance;
}

// The second gamma is the error of the sum in double that the value is.
Expected sum_of(double value, double magnitude, Index terms, DType dtype) {
  if (dtype == DType::kInt32) return {value, 0};
  const double relative = gamma(terms + 2, dtype) + gamma(terms + 2, DType::kFloat64);
  return {value, relative * magnitude + static_cast<double>(terms + 2) * smallest_subnormal(dtype)};
}

Epilogue EpilogueParts::view() const {
  Epilogue epilogue;
  if (scale != nullptr) epilogue.scale = scale->view();
  if (bias != nullptr) epilogue.bias = bias->view();
  if (residual != nullptr) epilogue.residual = residual->view();
  epilogue.activation = activation;
  return epilogue;
}

std::string product_mismatch(const Sparse& a, const Dense& x, const EpilogueParts& epilogue,
                             const Dense& y) {
  if (y.rows() != a.rows || y.cols() != x.cols()) return "the result has another shape";
  const std::vector<double> factors = x.numbers();
  for (Index r = 0; r < a.rows; ++r) {
    for (Index j = 0; j < x.cols(); ++j) {
      double sum = 0, magnitude = 0;
      for (Index p = a.offsets[at(r)]; p < a.offsets[at(r + 1)]; ++p) {
        const double product = a.values[at(p)] * factors[at(a.columns[at(p)] * x.cols() + j)];
        sum += product;
        magnitude += std::abs(product);
      }
      const Index terms = a.offsets[at(r + 1)] - a.offsets[at(r)];
      const Expected wanted = finished(sum, magnitude, terms, r, j, epilogue, a.dtype, y.dtype());
      if (!wanted.is_met_by(y.get(r, j))) return difference(r, j, y.get(r, j), wanted);
    }
  }
  return y.gaps_are_untouched() ? "" : "something between the result's elements was written";
}

std::string sampled_mismatch(const Sparse& a, const Dense& u, const Dense& v, const Array& got) {
  const DType acc = summed_in(u.dtype(), v.dtype());
  for (Index r = 0; r < a.rows; ++r) {
    for (Index p = a.offsets[at(r)]; p < a.offsets[at(r + 1)]; ++p) {
      double sum = 0, magnitude = 0;
      for (Index j = 0; j < u.cols(); ++j) {
        const double product = u.get(r, j) * v.get(a.columns[at(p)], j);
        sum += product;
        magnitude += std::abs(product);
      }
      Expected wanted = sum_of(sum, magnitude, u.cols(), acc);
      if (got.dtype() != DType::kInt32) {
        wanted.tolerance +=
            unit_roundoff(got.dtype()) * std::abs(sum) + smallest_subnormal(got.dtype());
      }
      if (!wanted.is_met_by(got.get(p))) return difference(r, a.columns[at(p)], got.get(p), wanted);
    }
  }
  return "";
}

std::string structure_mismatch(const Sparse& a, const CsrStructure& got) {
  if (got.rows() != a.rows || got.cols() != a.cols) return "another shape";
  got.check();
  return got == *a.structure() ? "" : "other entries";
}

}  // namespace sparsecore::testing
