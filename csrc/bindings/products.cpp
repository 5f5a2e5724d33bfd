// The products: arrays and tensors to views, GIL released, call, wrap. No arithmetic here.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

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
  // The view of X, residual or out that the core is given.
  void turn(DenseArg& arg) const {
    if (!by_rows || !arg.array || arg.array.ndim() != 2) return;
    std::swap(arg.view.rows, arg.view.cols);
    std::swap(arg.view.row_stride, arg.view.col_stride);
  }
};

bool is_column_major(const MatrixView& m) {
  return m.rows > 1 && m.cols > 1 && std::abs(m.row_stride) < std::abs(m.col_stride);
}

// Where a product is written: the caller's `out`, or a new array in the memory order of x. An
// unaligned `out` is written through a copy.
class Output {
 public:
  Output(const ProductArgs& args, const DenseArg& x, std::int64_t rows, DType dtype)
      : is_new_(args.out.is_none()) {
    if (is_new_) {
      const bool by_columns = is_column_major(x.view);
      result_ = x.array.ndim() == 1 ? make_array(dtype, {rows})
                : args.by_rows      ? make_array(dtype, {x.view.cols, rows}, !by_columns)
                                    : make_array(dtype, {rows, x.view.cols}, by_columns);
    } else {
      result_ = args.array(args.out, "out");
      require_fitting(args, x);
    }
    written_ = result_arg(result_, {args.name, "out"});
    args.turn(written_);
  }

  // The core compares the arrays that it is given. Where one of them is a copy (of an unaligned or
  // strided argument), what the caller holds is compared here.
  void refuse_overlap(const ProductArgs& args, const char* what, const py::array& given,
                      const py::array& used) const {
    if (is_new_ || !given || (used.is(given) && written_.array.is(result_))) return;
    const py::object shares = py::module_::import("numpy").attr("may_share_memory");
    if (shares(result_, given).cast<bool>()) {
      throw py::value_error(std::string(args.name) + ": out overlaps " + what + " in memory");
    }
  }

  const MatrixView& view() const { return written_.view; }

  // What the caller is given: `out`, or an array or tensor as X.
  py::object finish(const ProductArgs& args) {
    if (!written_.array.is(result_)) {
      py::module_::import("numpy").attr("copyto")(result_, written_.array);
    }
    if (!is_new_) return py::reinterpret_borrow<py::object>(args.out);
    written_.array = no_array();
    return of_kind(std::move(result_), args.x);
  }

 private:
  void require_fitting(const ProductArgs& args, const DenseArg& x) const {
    const std::string name(args.name);
    if (!result_.writeable()) throw py::value_error(name + ": out is read-only");
    if (result_.ndim() != x.array.ndim()) {
      throw py::value_error(name + ": out has " + std::to_string(result_.ndim()) +
                            " dimensions, X has " + std::to_string(x.array.ndim()));
    }
  }

  bool is_new_;
  py::array result_ = no_array();
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
                  residual_given = args.array(args.residual, "residual");
  DenseArg x = dense_arg(x_given, {args.name, "X"});
  args.turn(x);
  const DType result = product_dtype(args.name, dtype, x.view.dtype, !args.scale.is_none());
  VectorArg scale, bias;
  DenseArg residual;
  if (scale_given) scale = vector_arg(scale_given, {args.name, "scale"});
  if (bias_given) bias = vector_arg(bias_given, {args.name, "bias"});
  if (residual_given) residual = result_arg(residual_given, {args.name, "residual"});
  args.turn(residual);
  Output output(args, x, args.transposed ? shape.cols : shape.rows, result);
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
  return output.finish(args);
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
