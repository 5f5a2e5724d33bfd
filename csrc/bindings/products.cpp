// The products: arrays and tensors to views, GIL released, call, wrap. No arithmetic here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../ops.h"
#include "arrays.h"
#include "fast_call.h"
#include "gil.h"
#include "options.h"
#include "registration.h"
#include "tensors.h"

namespace sparsecore::bindings {
namespace {

// The arguments that every product shares, as they follow the matrix: arrays and tensors, None
// where one is left out.
struct ProductArgs {
  explicit ProductArgs(const Arguments& given)
      : x(given[0]),
        out(given[1]),
        threads(given[2]),
        name(text_of(given[3])),
        transposed(given[4].ptr() == Py_True),
        by_rows(given[5].ptr() == Py_True),
        scale(given[6]),
        bias(given[7]),
        residual(given[8]),
        activation(given[9]) {}

  py::handle x, out, threads;
  std::string_view name;
  bool transposed;  // the matrix is
  bool by_rows;     // of X, residual and out, as a layer has them: what they are for the rest
  py::handle scale, bias, residual, activation;

  py::array array(py::handle value, const char* what) const {
    return value.is_none() ? no_array() : array_arg(value, {name, what});
  }
  // A layer's operand, (..., k), as the rows that it consists of; a copy where no strides say that.
  py::array as_rows(py::array array) const {
    if (!by_rows || !array || array.ndim() <= 2) return array;
    py::ssize_t rows = 1;
    for (py::ssize_t axis = 0; axis + 1 < array.ndim(); ++axis) rows *= array.shape(axis);
    return array.reshape({rows, array.shape(array.ndim() - 1)});
  }
  // The view of X, residual or out that the core is given.
  void turn(DenseArg& arg) const {
    if (!by_rows || !arg.array || arg.array.ndim() != 2) return;
    std::swap(arg.view.rows, arg.view.cols);
    std::swap(arg.view.row_stride, arg.view.col_stride);
  }
};

std::vector<py::ssize_t> shape_of(const py::array& array) {
  return {array.shape(), array.shape() + array.ndim()};
}

std::string shape_text(const std::vector<py::ssize_t>& shape) {
  const py::tuple sizes(shape.size());
  for (std::size_t axis = 0; axis < shape.size(); ++axis) sizes[axis] = py::int_(shape[axis]);
  return py::str(sizes);
}

// What the operands of a layer, which may have any number of dimensions, owe each other: x
// (..., columns); residual and out (..., rows).
void require_layer(const ProductArgs& args, const py::array& x, std::int64_t rows,
                   std::int64_t columns, const py::array& residual, const py::array& out) {
  const std::string name(args.name);
  if (x.ndim() == 0) throw py::type_error(name + ": x has no axis, expected (..., features)");
  std::vector<py::ssize_t> shape = shape_of(x);
  if (shape.back() != columns) {
    throw py::value_error(name + ": x has " + std::to_string(shape.back()) + " features, A has " +
                          std::to_string(columns) + " columns");
  }
  shape.back() = rows;
  for (const auto& [what, array] : {std::pair("residual", residual), {"out", out}}) {
    if (!array || shape_of(array) == shape) continue;
    throw py::value_error(name + ": " + what + " has shape " + shape_text(shape_of(array)) +
                          ", expected " + shape_text(shape));
  }
}

// Where a product is written: the caller's `out`, or a new array in the memory order of x. An `out`
// that is unaligned, or not rows of one stride, is written through a copy.
class Output {
 public:
  Output(const ProductArgs& args, const DenseArg& x, const py::array& x_given, const py::array& out,
         std::int64_t rows, DType dtype)
      : given_(out) {
    if (!given_) {
      const bool by_columns = is_column_major(x_given);
      rows_ = x.array.ndim() == 1 ? make_array(dtype, {rows})
              : args.by_rows      ? make_array(dtype, {x.view.cols, rows}, by_columns)
                                  : make_array(dtype, {rows, x.view.cols}, by_columns);
    } else {
      rows_ = args.as_rows(given_);
      require_fitting(args, x);
    }
    written_ = result_arg(rows_, {args.name, "out"});
    args.turn(written_);
  }

  // The core compares the arrays that it is given. Where one of them is a copy (of an unaligned or
  // strided argument), what the caller holds is compared here.
  void refuse_overlap(const ProductArgs& args, const char* what, const py::array& given,
                      const py::array& used) const {
    if (!given_ || !given || (used.data() == given.data() && !is_copy())) return;
    const py::object shares = py::module_::import("numpy").attr("may_share_memory");
    if (shares(given_, given).cast<bool>()) {
      throw py::value_error(std::string(args.name) + ": out overlaps " + what + " in memory");
    }
  }

  const MatrixView& view() const { return written_.view; }

  // What the caller is given: `out`, or an array or tensor as X, which was `x`.
  py::object finish(const ProductArgs& args, const py::array& x) {
    if (given_) {
      if (is_copy()) {
        const py::object copyto = py::module_::import("numpy").attr("copyto");
        copyto(given_, written_.array.reshape(shape_of(given_)));
      }
      return py::reinterpret_borrow<py::object>(args.out);
    }
    written_.array = no_array();
    if (args.by_rows && x.ndim() > 2) {
      std::vector<py::ssize_t> shape = shape_of(x);
      shape.back() = rows_.shape(1);
      rows_ = rows_.reshape(shape);
    }
    return of_kind(std::move(rows_), args.x);
  }

 private:
  bool is_copy() const { return written_.array.data() != given_.data(); }

  void require_fitting(const ProductArgs& args, const DenseArg& x) const {
    const std::string name(args.name);
    if (!given_.writeable()) throw py::value_error(name + ": out is read-only");
    if (rows_.ndim() != x.array.ndim()) {
      throw py::value_error(name + ": out has " + std::to_string(rows_.ndim()) +
                            " dimensions, X has " + std::to_string(x.array.ndim()));
    }
  }

  py::array given_;              // the caller's
  py::array rows_ = no_array();  // the same, or a new one, with at most two dimensions
  DenseArg written_;
};

// Fills in a Product and hands it to `call`, without the GIL. `shape` is the matrix's; `values` are
// its own as the caller holds them and as the kernel reads them, where a plan has none.
template <class Call>
py::object run_product(const ProductArgs& args, const py::array& values_given,
                       const py::array& values, const PlanShape& shape, DType dtype, Call call) {
  const py::array x_given = args.array(args.x, args.by_rows ? "x" : "X"),
                  scale_given = args.array(args.scale, "scale"),
                  bias_given = args.array(args.bias, "bias"),
                  residual_given = args.array(args.residual, "residual"),
                  out_given = args.array(args.out, "out");
  const std::int64_t rows = args.transposed ? shape.cols : shape.rows,
                     columns = args.transposed ? shape.rows : shape.cols;
  if (args.by_rows) require_layer(args, x_given, rows, columns, residual_given, out_given);
  DenseArg x = dense_arg(args.as_rows(x_given), {args.name, "X"});
  args.turn(x);
  const DType result = product_dtype(args.name, dtype, x.view.dtype, !args.scale.is_none());
  VectorArg scale, bias;
  DenseArg residual;
  if (scale_given) scale = vector_arg(scale_given, {args.name, "scale"});
  if (bias_given) bias = vector_arg(bias_given, {args.name, "bias"});
  if (residual_given) residual = result_arg(args.as_rows(residual_given), {args.name, "residual"});
  args.turn(residual);
  Output output(args, x, x_given, out_given, rows, result);
  output.refuse_overlap(args, "X", x_given, x.array);
  output.refuse_overlap(args, "A's values", values_given, values);
  output.refuse_overlap(args, "scale", scale_given, scale.array);
  output.refuse_overlap(args, "bias", bias_given, bias.array);
  output.refuse_overlap(args, "residual", residual_given, residual.array);
  Product product{.x = x.view,
                  .epilogue = {scale.view, bias.view, residual.view,
                               activation_arg(args.activation, args.name)},
                  .out = output.view(),
                  .transposed = args.transposed,
                  .name = args.name};
  if (is_brief(product, shape, dtype)) {
    call(product);
  } else {
    product.threads = threads_arg(args.threads);
    without_gil([&] { call(product); });
  }
  return output.finish(args, x_given);
}

py::object plan_matmul_call(const Arguments& given) {
  const ProductArgs args(given.from(1));
  const auto& plan = given[0].cast<const Plan&>();
  return run_product(args, no_array(), no_array(), plan.shape(), plan.dtype(),
                     [&](const Product& product) { plan_matmul(plan, product); });
}

py::object csr_matmul_call(const Arguments& given) {
  const ProductArgs args(given.from(2));
  const auto& a = given[0].cast<const CsrStructure&>();
  const py::array values_given = args.array(given[1], "A.data"),
                  values = values_arg(values_given, {args.name, "A.data"}, a.nnz());
  const CsrView view = a.view(values.data(), dtype_of(values, "A.data"));
  return run_product(args, values_given, values, shape_of(a), view.dtype,
                     [&](const Product& product) { csr_matmul(view, product); });
}

py::object sparse24_matmul_call(const Arguments& given) {
  const ProductArgs args(given.from(2));
  const auto& a = given[0].cast<const Sparse24Structure&>();
  const std::int64_t slots = a.rows() * a.values_per_row();
  const py::array values_given = args.array(given[1], "S.values"),
                  values = values_arg(values_given, {args.name, "S.values"}, slots);
  const Sparse24View view = a.view(values.data(), dtype_of(values, "S.values"));
  return run_product(args, values_given, values, {a.rows(), a.cols(), slots}, view.dtype,
                     [&](const Product& product) { sparse24_matmul(view, product); });
}

}  // namespace

void register_products(py::module_& module) {
#define SPARSECORE_PRODUCT_ARGS                                                     \
  "x, out, threads, name, transposed=False, by_rows=False, scale=None, bias=None, " \
  "residual=None, activation=None, /)"
  static PyMethodDef functions[] = {
      fast_function<plan_matmul_call>("plan_matmul", "plan_matmul(plan, " SPARSECORE_PRODUCT_ARGS),
      fast_function<csr_matmul_call>("csr_matmul",
                                     "csr_matmul(structure, values, " SPARSECORE_PRODUCT_ARGS),
      fast_function<sparse24_matmul_call>(
          "sparse24_matmul", "sparse24_matmul(structure, values, " SPARSECORE_PRODUCT_ARGS),
      {}};
#undef SPARSECORE_PRODUCT_ARGS
  if (PyModule_AddFunctions(module.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace sparsecore::bindings
