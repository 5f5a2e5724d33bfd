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

namespace sparsecore::bindings {
namespace {

using OptionalArray = std::optional<py::array>;

// The keyword arguments that every product shares.
struct ProductArgs {
  OptionalArray values;  // the matrix's, as the caller holds them; a plan has its own
  py::array x;
  OptionalArray scale, bias, residual;
  std::optional<std::string> activation;
  OptionalArray out;
  int threads;
  std::string name;
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
  Output(const ProductArgs& args, const DenseArg& x, std::int64_t rows, DType dtype) {
    if (!args.out) {
      std::vector<std::int64_t> shape{rows};
      if (x.array.ndim() == 2) shape.push_back(x.view.cols);
      result_ = make_array(dtype, shape, is_column_major(x.view));
      written_ = result_arg(result_, "out");
      return;
    }
    result_ = *args.out;
    if (!result_.writeable()) throw py::value_error(args.name + ": out is read-only");
    if (result_.ndim() != x.array.ndim()) {
      throw py::value_error(args.name + ": out has " + std::to_string(result_.ndim()) +
                            " dimensions, X has " + std::to_string(x.array.ndim()));
    }
    written_ = result_arg(result_, (args.name + ": out").c_str());
  }

  // The core compares the arrays that it is given. Where one of them is a copy (of an unaligned or
  // strided argument), what the caller holds is compared here.
  void refuse_overlap(const ProductArgs& args, const py::array& x_given) const {
    if (!args.out) return;
    const bool out_is_copy = !written_.array.is(result_);
    const py::object shares = py::module_::import("numpy").attr("may_share_memory");
    const auto refuse = [&](const char* what, const OptionalArray& array, bool is_copy) {
      if (array && (out_is_copy || is_copy) && shares(result_, *array).cast<bool>()) {
        throw py::value_error(args.name + ": out overlaps " + what + " in memory");
      }
    };
    refuse("X", args.x, !x_given.is(args.x));
    refuse("A's values", args.values, args.values && !is_contiguous(*args.values));
    refuse("scale", args.scale, true);
    refuse("bias", args.bias, true);
    refuse("residual", args.residual, false);
  }

  const MatrixView& view() const { return written_.view; }

  py::array finish() {
    if (!written_.array.is(result_)) {
      py::module_::import("numpy").attr("copyto")(result_, written_.array);
    }
    return result_;
  }

 private:
  py::array result_;
  DenseArg written_;
};

// Fills in a Product and hands it to `call`, without the GIL.
template <class Call>
py::array run_product(const ProductArgs& args, std::int64_t rows, DType dtype, Call call) {
  const auto name = [&](const char* what) { return args.name + ": " + what; };
  const DenseArg x = dense_arg(args.x, name("X").c_str());
  const DType result = product_dtype(args.name, dtype, x.view.dtype, args.scale.has_value());
  Product product;
  product.x = x.view;
  VectorArg scale, bias;
  DenseArg residual;
  if (args.scale) scale = vector_arg(*args.scale, name("scale").c_str());
  if (args.bias) bias = vector_arg(*args.bias, name("bias").c_str());
  if (args.residual) residual = result_arg(*args.residual, name("residual").c_str());
  product.epilogue = {scale.view, bias.view, residual.view, activation_from(args)};
  product.threads = args.threads;
  product.name = args.name;
  Output output(args, x, rows, result);
  output.refuse_overlap(args, x.array);
  product.out = output.view();
  without_gil([&] { call(product); });
  return output.finish();
}

py::array plan_run(const Plan& plan, py::array x, bool transposed, OptionalArray scale,
                   OptionalArray bias, OptionalArray residual,
                   std::optional<std::string> activation, OptionalArray out, int threads,
                   std::string name) {
  const ProductArgs args{
      std::nullopt,          std::move(x),   std::move(scale), std::move(bias), std::move(residual),
      std::move(activation), std::move(out), threads,          std::move(name)};
  const PlanShape shape = plan.shape();
  return run_product(args, transposed ? shape.cols : shape.rows, plan.dtype(),
                     [&](Product& product) {
                       product.transposed = transposed;
                       plan_matmul(plan, product);
                     });
}

py::array csr_matmul_run(const CsrStructure& a, py::array values_in, py::array x, bool transposed,
                         OptionalArray scale, OptionalArray bias, OptionalArray residual,
                         std::optional<std::string> activation, OptionalArray out, int threads,
                         std::string name) {
  const ProductArgs args{
      values_in,           std::move(x),          std::move(scale), std::move(bias),
      std::move(residual), std::move(activation), std::move(out),   threads,
      std::move(name)};
  const py::array values =
      values_arg(std::move(values_in), (args.name + ": A.data").c_str(), a.nnz());
  const CsrView view = a.view(values.data(), dtype_of(values, "A.data"));
  return run_product(args, transposed ? a.cols() : a.rows(), view.dtype, [&](Product& product) {
    product.transposed = transposed;
    csr_matmul(view, product);
  });
}

py::array sparse24_matmul_run(const Sparse24Structure& a, py::array values_in, py::array x,
                              OptionalArray scale, OptionalArray bias, OptionalArray residual,
                              std::optional<std::string> activation, OptionalArray out, int threads,
                              std::string name) {
  const ProductArgs args{
      values_in,           std::move(x),          std::move(scale), std::move(bias),
      std::move(residual), std::move(activation), std::move(out),   threads,
      std::move(name)};
  const py::array values = values_arg(std::move(values_in), (args.name + ": S.values").c_str(),
                                      a.rows() * a.values_per_row());
  const Sparse24View view = a.view(values.data(), dtype_of(values, "S.values"));
  return run_product(args, a.rows(), view.dtype,
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
      .def("run", plan_run, py::arg("x"), py::kw_only(), py::arg("transposed") = false,
           py::arg("scale") = py::none(), py::arg("bias") = py::none(),
           py::arg("residual") = py::none(), py::arg("activation") = py::none(),
           py::arg("out") = py::none(), py::arg("threads"), py::arg("name") = "csr_matmul")
      // To look up the names of options takes as long as a product of small arrays.
      .def(
          "run_plain",
          [](const Plan& plan, py::array x, int threads) {
            return plan_run(plan, std::move(x), false, {}, {}, {}, {}, {}, threads, "csr_matmul");
          },
          py::arg("x"), py::arg("threads"))
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
  module.def(
      "csr_matmul_plain",
      [](const CsrStructure& a, py::array values, py::array x, int threads) {
        return csr_matmul_run(a, std::move(values), std::move(x), false, {}, {}, {}, {}, {},
                              threads, "csr_matmul");
      },
      py::arg("structure"), py::arg("values"), py::arg("x"), py::arg("threads"));
  module.def("csr_matmul", csr_matmul_run, py::arg("structure"), py::arg("values"), py::arg("x"),
             py::kw_only(), py::arg("transposed") = false, py::arg("scale") = py::none(),
             py::arg("bias") = py::none(), py::arg("residual") = py::none(),
             py::arg("activation") = py::none(), py::arg("out") = py::none(), py::arg("threads"),
             py::arg("name") = "csr_matmul");
  module.def("sparse24_matmul", sparse24_matmul_run, py::arg("structure"), py::arg("values"),
             py::arg("x"), py::kw_only(), py::arg("scale") = py::none(),
             py::arg("bias") = py::none(), py::arg("residual") = py::none(),
             py::arg("activation") = py::none(), py::arg("out") = py::none(), py::arg("threads"),
             py::arg("name") = "sparse24_matmul");
  module.def("csr_sddmm", sddmm_run, py::arg("structure"), py::arg("u"), py::arg("v"),
             py::arg("threads"));
}

}  // namespace sparsecore::bindings
