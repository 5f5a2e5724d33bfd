#include "ops.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "choose.h"
#include "plans/accumulate.h"
#include "plans/row_sweep.h"
#include "plans/sddmm.h"
#include "plans/sparse24.h"
#include "plans/stateless.h"

namespace sparsecore {
namespace {

std::string shape_text(const MatrixView& m) {
  return "(" + std::to_string(m.rows) + ", " + std::to_string(m.cols) + ")";
}

[[noreturn]] void fail(std::string_view name, const std::string& message) {
  throw std::invalid_argument(std::string(name) + ": " + message);
}

// A view as lines: `count` of them, `stride` bytes apart, of items `step` bytes apart.
struct Lines {
  std::uintptr_t begin;
  std::int64_t count, stride, items, step, item;

  std::int64_t length() const { return (items - 1) * step + item; }
  std::uintptr_t end() const {
    return begin + static_cast<std::uintptr_t>((count - 1) * stride + length());
  }
};

Lines lines_of(const MatrixView& m) {
  const std::int64_t item = item_size(m.dtype);
  auto begin = reinterpret_cast<std::uintptr_t>(m.data);
  const std::int64_t counts[2] = {m.rows, m.cols};
  std::int64_t strides[2] = {m.row_stride * item, m.col_stride * item};
  for (int axis = 0; axis < 2; ++axis) {
    if (counts[axis] == 1) strides[axis] = 0;
    if (strides[axis] >= 0) continue;
    begin += static_cast<std::uintptr_t>((counts[axis] - 1) * strides[axis]);
    strides[axis] = -strides[axis];
  }
  const int outer = strides[0] >= strides[1] ? 0 : 1;
  return {begin, counts[outer], strides[outer], counts[1 - outer], strides[1 - outer], item};
}

// Whether runs of a and b bytes, each repeated at every `stride`, the second `distance` after the
// first, stay clear of each other.
bool interleave(std::int64_t distance, std::int64_t stride, std::int64_t a, std::int64_t b) {
  if (stride == 0 || a > stride || b > stride) return false;
  const std::int64_t phase = (distance % stride + stride) % stride;
  return phase >= a && phase + b <= stride;
}

// Whether two views may share a byte: by their extents; where both repeat at one distance (halves
// of a buffer side by side, every second column), by what each takes of it.
bool overlaps(const MatrixView& a, const MatrixView& b) {
  if (a.data == nullptr || b.data == nullptr) return false;
  if (a.rows == 0 || a.cols == 0 || b.rows == 0 || b.cols == 0) return false;
  const Lines x = lines_of(a), y = lines_of(b);
  if (x.begin >= y.end() || y.begin >= x.end()) return false;
  const auto distance = static_cast<std::int64_t>(y.begin - x.begin);
  if (x.stride == y.stride && interleave(distance, x.stride, x.length(), y.length())) return false;
  const bool same_grid =
      x.step == y.step && x.step > 0 && x.stride % x.step == 0 && y.stride % y.step == 0;
  return !(same_grid && interleave(distance, x.step, x.item, y.item));
}

// Whether two elements of a view lie on each other: broadcast or strided over itself.
bool overlaps_itself(const MatrixView& m) {
  if (m.rows == 0 || m.cols == 0) return false;
  const Lines lines = lines_of(m);
  return (lines.items > 1 && lines.step < lines.item) ||
         (lines.count > 1 && lines.stride < lines.length());
}

MatrixView as_column(const VectorView& v) {
  return {const_cast<void*>(v.data), v.dtype, v.size, 1, v.stride, 1};
}

// Shapes, dtypes and overlaps of a product with a matrix of `rows` x `cols` (already transposed if
// the product is).
void check_product(const Product& p, std::int64_t rows, std::int64_t cols, DType dtype,
                   const MatrixView& values) {
  if (p.x.rows != cols) {
    fail(p.name,
         "X has " + std::to_string(p.x.rows) + " rows, A has " + std::to_string(cols) + " columns");
  }
  const DType result = product_dtype(p.name, dtype, p.x.dtype, p.epilogue.scale.data != nullptr);
  if (p.out.rows != rows || p.out.cols != p.x.cols) {
    fail(p.name, "out has shape " + shape_text(p.out) + ", expected (" + std::to_string(rows) +
                     ", " + std::to_string(p.x.cols) + ")");
  }
  if (p.out.dtype != result) {
    fail(p.name, std::string("out is ") + dtype_name(p.out.dtype) + ", the result is " +
                     dtype_name(result));
  }
  if (overlaps_itself(p.out)) fail(p.name, "out has elements that share memory");
  check_vector(p.name, "scale", p.epilogue.scale, rows, result);
  check_vector(p.name, "bias", p.epilogue.bias, rows, result);
  const MatrixView& residual = p.epilogue.residual;
  if (residual.data != nullptr && (residual.rows != rows || residual.cols != p.x.cols)) {
    fail(p.name, "residual has shape " + shape_text(residual) + ", expected " + shape_text(p.out));
  }
  if (residual.data != nullptr && residual.dtype != result) {
    throw TypeMismatch(std::string(p.name) + ": residual is " + dtype_name(residual.dtype) +
                       ", the result is " + dtype_name(result));
  }
  if (p.epilogue.activation != Activation::kNone && !is_floating(result)) {
    throw TypeMismatch(std::string(p.name) + ": an activation needs a floating result, got " +
                       dtype_name(result));
  }
  for (const auto& [what, view] : {std::pair("X", p.x),
                                   {"A's values", values},
                                   {"residual", residual},
                                   {"scale", as_column(p.epilogue.scale)},
                                   {"bias", as_column(p.epilogue.bias)}}) {
    if (overlaps(p.out, view)) fail(p.name, std::string("out overlaps ") + what + " in memory");
  }
}

// Kernels hold columns in 32 bits.
void check_columns(std::string_view name, std::int64_t cols) {
  if (cols > std::int64_t{std::numeric_limits<std::uint32_t>::max()} + 1) {
    fail(name, "A has " + std::to_string(cols) + " columns, products take at most 2^32");
  }
}

MatrixView flat(const void* values, DType dtype, std::int64_t size) {
  return {const_cast<void*>(values), dtype, 1, size, size, 1};
}

}  // namespace

void check_vector(std::string_view name, const char* what, const VectorView& v, std::int64_t rows,
                  DType result) {
  if (v.data == nullptr) return;
  if (v.size != rows) {
    fail(name, std::string(what) + " has " + std::to_string(v.size) + " entries, A has " +
                   std::to_string(rows) + " rows");
  }
  if (!is_floating(v.dtype) || !is_floating(result)) {
    throw TypeMismatch(std::string(name) + ": " + what + " is " + dtype_name(v.dtype) +
                       ", the result " + dtype_name(result) + "; both must be floating");
  }
}

DType product_dtype(std::string_view name, DType values, DType x, bool has_scale) {
  if (!mix_is_allowed(values, x)) {
    throw TypeMismatch(std::string(name) + ": A is " + dtype_name(values) + ", X is " +
                       dtype_name(x) +
                       "; expected equal dtypes, float16 or bfloat16 A with float32 X, or int8 A "
                       "with floating X and scale");
  }
  if (values == DType::kInt8 && is_floating(x) && !has_scale) {
    throw TypeMismatch(std::string(name) + ": A is int8, X is " + dtype_name(x) +
                       "; this mix needs scale, one factor for each row of A");
  }
  return result_for(values, x);
}

bool is_brief(const Product& p, const PlanShape& shape, DType dtype) {
  constexpr double kBriefly = 5e3;
  const bool is_copied =
      needs_panel(p.x, accumulator_for(dtype, p.x.dtype, 0), shape.nnz, p.x.cols);
  const double ns =
      product_ns(shape.nnz, p.out.rows, p.x.cols) + (is_copied ? copy_ns(p.x.rows * p.x.cols) : 0);
  return ns <= kBriefly && p.epilogue.activation == Activation::kNone;
}

void check_csr_matmul(const CsrView& a, const Product& p) {
  check_columns(p.name, a.cols);
  const auto [rows, cols] = p.transposed ? std::pair(a.cols, a.rows) : std::pair(a.rows, a.cols);
  check_product(p, rows, cols, a.dtype, flat(a.values, a.dtype, a.nnz()));
}

void csr_matmul(const CsrView& a, const Product& p) {
  check_csr_matmul(a, p);
  if (p.transposed) {
    transposed_product(a, p.x, p.epilogue, p.out, p.threads);
  } else {
    csr_product(a, p.x, p.epilogue, p.out, p.threads);
  }
}

void plan_matmul(const Plan& plan, const Product& p) {
  auto [rows, cols, nnz] = plan.shape();
  check_columns(p.name, cols);
  if (p.transposed) std::swap(rows, cols);
  check_product(p, rows, cols, plan.dtype(), MatrixView{});
  plan.run(p.x, p.epilogue, p.out, p.transposed, p.threads);
}

void check_sparse24_matmul(const Sparse24View& a, const Product& p) {
  check_columns(p.name, a.cols);
  check_product(p, a.rows, a.cols, a.dtype, flat(a.values, a.dtype, a.nnz()));
}

void sparse24_matmul(const Sparse24View& a, const Product& p) {
  check_sparse24_matmul(a, p);
  sparse24_product(a, p.x, p.epilogue, p.out, p.threads);
}

DType sddmm_dtype(DType u, DType v) {
  if (u != v) {
    throw TypeMismatch(std::string("csr_sddmm: U is ") + dtype_name(u) + ", V is " + dtype_name(v) +
                       "; expected equal dtypes");
  }
  return product_dtype("csr_sddmm", u, v, false);
}

void check_csr_sddmm(const CsrView& a, const MatrixView& u, const MatrixView& v) {
  check_columns("csr_sddmm", a.cols);
  if (u.rows != a.rows) {
    fail("csr_sddmm",
         "U has " + std::to_string(u.rows) + " rows, A has " + std::to_string(a.rows) + " rows");
  }
  if (v.rows != a.cols) {
    fail("csr_sddmm",
         "V has " + std::to_string(v.rows) + " rows, A has " + std::to_string(a.cols) + " columns");
  }
  if (u.cols != v.cols) {
    fail("csr_sddmm",
         "U has " + std::to_string(u.cols) + " columns, V has " + std::to_string(v.cols));
  }
}

void csr_sddmm(const CsrView& a, const MatrixView& u, const MatrixView& v, void* d, int threads) {
  check_csr_sddmm(a, u, v);
  sampled_product(a, u, v, d, sddmm_dtype(u.dtype, v.dtype), threads);
}

}  // namespace sparsecore
