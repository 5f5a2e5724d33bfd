#include "ops.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>

#include "choose.h"
#include "plans/row_scatter.h"
#include "plans/row_sweep.h"
#include "plans/sddmm.h"

namespace sparsecore {
namespace {

std::string shape_text(const MatrixView& m) {
  return "(" + std::to_string(m.rows) + ", " + std::to_string(m.cols) + ")";
}

[[noreturn]] void fail(std::string_view name, const std::string& message) {
  throw std::invalid_argument(std::string(name) + ": " + message);
}

// The bytes from the first to the last element, for views of at least one.
std::pair<std::uintptr_t, std::uintptr_t> extent(const MatrixView& m) {
  std::int64_t low = 0, high = 0;
  for (const auto& [count, stride] : {std::pair(m.rows, m.row_stride), {m.cols, m.col_stride}}) {
    const std::int64_t last = (count - 1) * stride;
    (last < 0 ? low : high) += last;
  }
  const auto base = reinterpret_cast<std::uintptr_t>(m.data);
  const std::int64_t item = item_size(m.dtype);
  return {base + static_cast<std::uintptr_t>(low * item),
          base + static_cast<std::uintptr_t>((high + 1) * item)};
}

bool overlaps(const MatrixView& a, const MatrixView& b) {
  if (a.data == nullptr || b.data == nullptr) return false;
  if (a.rows == 0 || a.cols == 0 || b.rows == 0 || b.cols == 0) return false;
  const auto [a_begin, a_end] = extent(a);
  const auto [b_begin, b_end] = extent(b);
  return a_begin < b_end && b_begin < a_end;
}

MatrixView as_column(const VectorView& v) {
  return {const_cast<void*>(v.data), v.dtype, v.size, 1, v.stride, 1};
}

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

// Shapes, dtypes and overlaps of a product with a matrix of `rows` x `cols` (already transposed if
// the product is).
void check_product(const Product& p, std::int64_t rows, std::int64_t cols, DType dtype,
                   const MatrixView& values) {
  if (p.x.rows != cols) {
    fail(p.name, "X has " + std::to_string(p.x.rows) + " rows, A has " + std::to_string(cols) +
                     " columns");
  }
  if (cols > std::int64_t{std::numeric_limits<std::uint32_t>::max()} + 1) {
    fail(p.name, "A has " + std::to_string(cols) + " columns, products take at most 2^32");
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
  for (const auto& [what, view] :
       {std::pair("X", p.x), {"A's values", values}, {"residual", residual},
        {"scale", as_column(p.epilogue.scale)}, {"bias", as_column(p.epilogue.bias)}}) {
    if (overlaps(p.out, view)) fail(p.name, std::string("out overlaps ") + what + " in memory");
  }
}

MatrixView flat(const void* values, DType dtype, std::int64_t size) {
  return {const_cast<void*>(values), dtype, 1, size, size, 1};
}

}  // namespace

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

void csr_matmul(const CsrView& a, const Product& p) {
  const MatrixView values = flat(a.values, a.dtype, a.nnz());
  if (p.transposed) {
    check_product(p, a.cols, a.rows, a.dtype, values);
    row_scatter(a, p.x, p.epilogue, p.out, p.threads);
  } else {
    check_product(p, a.rows, a.cols, a.dtype, values);
    row_sweep(a, p.x, p.epilogue, p.out, p.threads);
  }
}

void plan_matmul(const Plan& plan, const Product& p) {
  std::int64_t rows = plan.structure()->rows(), cols = plan.structure()->cols();
  if (p.transposed) std::swap(rows, cols);
  check_product(p, rows, cols, plan.dtype(), MatrixView{});
  plan.run(p.x, p.epilogue, p.out, p.transposed, p.threads);
}

void sparse24_matmul(const Sparse24View& a, const Product& p) {
  check_product(p, a.rows, a.cols, a.dtype, flat(a.values, a.dtype, a.nnz()));
  row_sweep(a, p.x, p.epilogue, p.out, p.threads);
}

DType sddmm_dtype(DType u, DType v) {
  if (u != v) {
    throw TypeMismatch(std::string("csr_sddmm: U is ") + dtype_name(u) + ", V is " +
                       dtype_name(v) + "; expected equal dtypes");
  }
  return product_dtype("csr_sddmm", u, v, false);
}

void csr_sddmm(const CsrView& a, const MatrixView& u, const MatrixView& v, void* d, int threads) {
  if (u.rows != a.rows) {
    fail("csr_sddmm", "U has " + std::to_string(u.rows) + " rows, A has " +
                          std::to_string(a.rows) + " rows");
  }
  if (v.rows != a.cols) {
    fail("csr_sddmm", "V has " + std::to_string(v.rows) + " rows, A has " +
                          std::to_string(a.cols) + " columns");
  }
  if (u.cols != v.cols) {
    fail("csr_sddmm", "U has " + std::to_string(u.cols) + " columns, V has " +
                          std::to_string(v.cols));
  }
  sampled_product(a, u, v, d, sddmm_dtype(u.dtype, v.dtype), threads);
}

}  // namespace sparsecore
