// The operations: arrays to views, GIL released, call, wrap. No arithmetic here.
#include "../ops.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "../construct.h"
#include "arrays.h"
#include "gil.h"
#include "registration.h"
#include "tensors.h"

namespace sparsecore::bindings {
namespace {

// The arguments that every product shares: arrays and tensors, None where one is left out. The core
// takes all of them by position: to look up the names of so many takes as long as a small product.
struct ProductArgs {
  py::array values;  // the matrix's, as the caller holds them; a plan has its own
  py::object x, scale, bias, residual;
  std::optional<std::string> activation;
  py::object out;
  int threads;
  std::string name;

  py::array array(const py::object& value, const char* what) const {
    return value.is_none() ? no_array() : array_arg(value, name, what);
  }
};

Activation activation_from(const ProductArgs& args) {
  if (!args.activation) return Activation::kNone;
  if (*args.activation == "relu") return Activation::kRelu;
  if (*args.activation == "gelu") return Activation::kGelu;
  if (*args.activation == "silu") return Activation::kSilu;
  throw py::value_error(args.name + ": activation is '" + *args.activation +
                        "', expected None, 'relu', 'gelu' or 'silu'");
}

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
      std::vector<std::int64_t> shape{rows};
      if (x.array.ndim() == 2) shape.push_back(x.view.cols);
      result_ = make_array(dtype, shape, is_column_major(x.view));
      written_ = result_arg(result_, "out");
      return;
    }
    result_ = args.array(args.out, "out");
    if (!result_.writeable()) throw py::value_error(args.name + ": out is read-only");
    if (result_.ndim() != x.array.ndim()) {
      throw py::value_error(args.name + ": out has " + std::to_string(result_.ndim()) +
                            " dimensions, X has " + std::to_string(x.array.ndim()));
    }
    written_ = result_arg(result_, (args.name + ": out").c_str());
  }

  // The core compares the arrays that it is given. Where one of them is a copy (of an unaligned or
  // strided argument), what the caller holds is compared here.
  void refuse_overlap(const ProductArgs& args, const char* what, const py::array& given,
                      const py::array& used) const {
    if (is_new_ || !given || (used.is(given) && written_.array.is(result_))) return;
    const py::object shares = py::module_::import("numpy").attr("may_share_memory");
    if (shares(result_, given).cast<bool>()) {
      throw py::value_error(args.name + ": out overlaps " + what + " in memory");
    }
  }

  const MatrixView& view() const { return written_.view; }

  // What the caller is given: `out`, or an array or tensor as X.
  py::object finish(const ProductArgs& args) {
    if (!written_.array.is(result_)) {
      py::module_::import("numpy").attr("copyto")(result_, written_.array);
    }
    return is_new_ ? of_kind(std::move(result_), args.x) : args.out;
  }

 private:
  bool is_new_;
  py::array result_ = no_array();
  DenseArg written_;
};

// Fills in a Product and hands it to `call`, without the GIL. `values` are the matrix's own as the
// kernel reads them.
template <class Call>
py::object run_product(const ProductArgs& args, const py::array& values, std::int64_t rows,
                       DType dtype, Call call) {
  const auto name = [&](const char* what) { return args.name + ": " + what; };
  const py::array x_given = args.array(args.x, "X"), scale_given = args.array(args.scale, "scale"),
                  bias_given = args.array(args.bias, "bias"),
                  residual_given = args.array(args.residual, "residual");
  const DenseArg x = dense_arg(x_given, name("X").c_str());
  const DType result = product_dtype(args.name, dtype, x.view.dtype, !args.scale.is_none());
  Product product;
  product.x = x.view;
  VectorArg scale, bias;
  DenseArg residual;
  if (scale_given) scale = vector_arg(scale_given, name("scale").c_str());
  if (bias_given) bias = vector_arg(bias_given, name("bias").c_str());
  if (residual_given) residual = result_arg(residual_given, name("residual").c_str());
  product.epilogue = {scale.view, bias.view, residual.view, activation_from(args)};
  product.threads = args.threads;
  product.name = args.name;
  Output output(args, x, rows, result);
  output.refuse_overlap(args, "X", x_given, x.array);
  output.refuse_overlap(args, "A's values", args.values, values);
  output.refuse_overlap(args, "scale", scale_given, scale.array);
  output.refuse_overlap(args, "bias", bias_given, bias.array);
  output.refuse_overlap(args, "residual", residual_given, residual.array);
  product.out = output.view();
  without_gil([&] { call(product); });
  return output.finish(args);
}

py::object plan_run(const Plan& plan, py::object x, bool transposed, py::object scale,
                    py::object bias, py::object residual, std::optional<std::string> activation,
                    py::object out, int threads, std::string name) {
  const ProductArgs args{
      no_array(),          std::move(x),          std::move(scale), std::move(bias),
      std::move(residual), std::move(activation), std::move(out),   threads,
      std::move(name)};
  const PlanShape shape = plan.shape();
  return run_product(args, no_array(), transposed ? shape.cols : shape.rows, plan.dtype(),
                     [&](Product& product) {
                       product.transposed = transposed;
                       plan_matmul(plan, product);
                     });
}

py::object csr_matmul_run(const CsrStructure& a, const py::object& values_in, py::object x,
                          bool transposed, py::object scale, py::object bias, py::object residual,
                          std::optional<std::string> activation, py::object out, int threads,
                          std::string name) {
  const ProductArgs args{array_arg(values_in, name, "A.data"),
                         std::move(x),
                         std::move(scale),
                         std::move(bias),
                         std::move(residual),
                         std::move(activation),
                         std::move(out),
                         threads,
                         std::move(name)};
  const py::array values = values_arg(args.values, (args.name + ": A.data").c_str(), a.nnz());
  const CsrView view = a.view(values.data(), dtype_of(values, "A.data"));
  return run_product(args, values, transposed ? a.cols() : a.rows(), view.dtype,
                     [&](Product& product) {
                       product.transposed = transposed;
                       csr_matmul(view, product);
                     });
}

py::object sparse24_matmul_run(const Sparse24Structure& a, const py::object& values_in,
                               py::object x, py::object scale, py::object bias, py::object residual,
                               std::optional<std::string> activation, py::object out, int threads,
                               std::string name) {
  const ProductArgs args{array_arg(values_in, name, "S.values"),
                         std::move(x),
                         std::move(scale),
                         std::move(bias),
                         std::move(residual),
                         std::move(activation),
                         std::move(out),
                         threads,
                         std::move(name)};
  const py::array values =
      values_arg(args.values, (args.name + ": S.values").c_str(), a.rows() * a.values_per_row());
  const Sparse24View view = a.view(values.data(), dtype_of(values, "S.values"));
  return run_product(args, values, a.rows(), view.dtype,
                     [&](const Product& product) { sparse24_matmul(view, product); });
}

py::array sddmm_run(const CsrStructure& a, py::array u_in, py::array v_in, int threads) {
  const DenseArg u = dense_arg(std::move(u_in), "csr_sddmm: U"),
                 v = dense_arg(std::move(v_in), "csr_sddmm: V");
  py::array d = make_array(sddmm_dtype(u.view.dtype, v.view.dtype), {a.nnz()});
  void* out = d.mutable_data();
  without_gil([&] { csr_sddmm(a.view(nullptr, u.view.dtype), u.view, v.view, out, threads); });
  return d;
}

std::unique_ptr<Plan> prepare_csr(std::shared_ptr<CsrStructure> structure, py::array values_in,
                                  std::int64_t columns, bool backward, const std::string& kernel,
                                  int threads) {
  const py::array values = values_arg(std::move(values_in), "A.data", structure->nnz());
  const DType dtype = dtype_of(values, "A.data");
  const void* data = values.data();
  std::unique_ptr<Plan> plan;
  without_gil([&] {
    plan = make_plan(std::move(structure), data, dtype, {columns, backward, kernel}, threads);
  });
  return plan;
}

void register_plan(py::module_& module) {
  py::class_<Plan>(module, "Plan", py::is_final())
      .def_property_readonly(
          "structure",
          [](const Plan& plan) { return std::const_pointer_cast<CsrStructure>(plan.structure()); })
      .def_property_readonly(
          "shape", [](const Plan& plan) { return std::pair(plan.shape().rows, plan.shape().cols); })
      .def_property_readonly("nnz", [](const Plan& plan) { return plan.shape().nnz; })
      .def_property_readonly("kernel", [](const Plan& plan) { return std::string(plan.kernel()); })
      .def_property_readonly("nbytes", &Plan::nbytes)
      .def_property_readonly("keeps_structure", &Plan::keeps_structure)
      .def("run", plan_run, py::arg("x"), py::arg("transposed"), py::arg("scale"), py::arg("bias"),
           py::arg("residual"), py::arg("activation"), py::arg("out"), py::arg("threads"),
           py::arg("name"))
      .def(
          "update",
          [](Plan& plan, py::array values_in, int threads) {
            const py::array values = values_arg(std::move(values_in), "data", plan.shape().nnz);
            if (dtype_of(values, "data") != plan.dtype()) {
              throw py::type_error(std::string("data is ") + dtype_name(dtype_of(values, "data")) +
                                   ", the plan was prepared with " + dtype_name(plan.dtype()));
            }
            const void* data = values.data();
            without_gil([&] { plan.update(data, threads); });
          },
          py::arg("values"), py::arg("threads"))
      .def(
          "unpack",
          [](const Plan& plan, int threads) {
            py::array values = make_array(plan.dtype(), {plan.shape().nnz});
            void* data = values.mutable_data();
            without_gil([&] { plan.unpack(data, threads); });
            return values;
          },
          py::arg("threads"));
  module.def("prepare_csr", prepare_csr, py::arg("structure"), py::arg("values"),
             py::arg("columns"), py::arg("backward"), py::arg("kernel"), py::arg("threads"));
}

}  // namespace

void register_ops(py::module_& module) {
  register_plan(module);
  module.def("tensor_view", tensor_view, py::arg("tensor"));
  module.def("csr_matmul", csr_matmul_run, py::arg("structure"), py::arg("values"), py::arg("x"),
             py::arg("transposed"), py::arg("scale"), py::arg("bias"), py::arg("residual"),
             py::arg("activation"), py::arg("out"), py::arg("threads"), py::arg("name"));
  module.def("sparse24_matmul", sparse24_matmul_run, py::arg("structure"), py::arg("values"),
             py::arg("x"), py::arg("scale"), py::arg("bias"), py::arg("residual"),
             py::arg("activation"), py::arg("out"), py::arg("threads"), py::arg("name"));
  module.def("csr_sddmm", sddmm_run, py::arg("structure"), py::arg("u"), py::arg("v"),
             py::arg("threads"));
}

}  // namespace sparsecore::bindings
