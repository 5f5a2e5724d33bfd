// Plans and the sampled product: arrays to views, GIL released, call, wrap. No arithmetic here.
#include "../ops.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../construct.h"
#include "arrays.h"
#include "gil.h"
#include "plan_class.h"
#include "registration.h"
#include "tensors.h"

namespace sparsecore::bindings {
namespace {

py::array sddmm_run(const CsrStructure& a, py::array u_in, py::array v_in, int threads) {
  const DenseArg u = dense_arg(std::move(u_in), "csr_sddmm: U"),
                 v = dense_arg(std::move(v_in), "csr_sddmm: V");
  py::array d = make_array(sddmm_dtype(u.view.dtype, v.view.dtype), {a.nnz()});
  void* out = d.mutable_data();
  without_gil([&] { csr_sddmm(a.view(nullptr, u.view.dtype), u.view, v.view, out, threads); });
  return d;
}

std::unique_ptr<Plan> prepare_csr(std::shared_ptr<CsrStructure> structure, py::array values_in,
                                  std::int64_t columns, bool backward, bool by_rows,
                                  const std::string& kernel, int threads) {
  const py::array values = values_arg(std::move(values_in), "A.data", structure->nnz());
  const DType dtype = dtype_of(values, "A.data");
  const void* data = values.data();
  std::unique_ptr<Plan> plan;
  without_gil([&] {
    plan =
        make_plan(std::move(structure), data, dtype, {columns, backward, kernel, by_rows}, threads);
  });
  return plan;
}

void register_plan(py::module_& module) {
  plan_class<Plan>(module, "Plan")
      .def_property_readonly("kernel", [](const Plan& plan) { return std::string(plan.kernel()); })
      .def_property_readonly("keeps_structure", &Plan::keeps_structure);
  module.def("prepare_csr", prepare_csr, py::arg("structure"), py::arg("values"),
             py::arg("columns"), py::arg("backward"), py::arg("by_rows"), py::arg("kernel"),
             py::arg("threads"));
}

}  // namespace

void register_ops(py::module_& module) {
  register_plan(module);
  module.def("tensor_view", tensor_view, py::arg("tensor"));
  // What `torch.library` asks of a product before there are numbers.
  module.def(
      "product_dtype",
      [](std::string_view name, const py::array& values, const py::array& x, bool has_scale) {
        const DType result = product_dtype(name, slot_dtype_of(values, {name, "A"}),
                                           dtype_of(x, {name, "X"}), has_scale);
        return numpy_dtype(result);
      },
      py::arg("name"), py::arg("values"), py::arg("x"), py::arg("has_scale"));
  module.def(
      "sddmm_dtype",
      [](const py::array& u, const py::array& v) {
        return numpy_dtype(sddmm_dtype(dtype_of(u, "csr_sddmm: U"), dtype_of(v, "csr_sddmm: V")));
      },
      py::arg("u"), py::arg("v"));
  module.def("csr_sddmm", sddmm_run, py::arg("structure"), py::arg("u"), py::arg("v"),
             py::arg("threads"));
}

}  // namespace sparsecore::bindings
