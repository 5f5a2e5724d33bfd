// What Python sees of every kind of plan.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>

#include "../formats.h"
#include "arrays.h"
#include "gil.h"

namespace sparsecore::bindings {

template <class PlanKind>
py::class_<PlanKind> plan_class(py::module_& module, const char* name) {
  py::class_<PlanKind> result(module, name, py::is_final());
  result
      .def_property_readonly("structure",
                             [](const PlanKind& plan) {
                               return std::const_pointer_cast<CsrStructure>(plan.structure());
                             })
      .def_property_readonly(
          "shape",
          [](const PlanKind& plan) { return std::pair(plan.shape().rows, plan.shape().cols); })
      .def_property_readonly("nnz", [](const PlanKind& plan) { return plan.shape().nnz; })
      .def_property_readonly("nbytes", &PlanKind::nbytes)
      .def(
          "update",
          [](PlanKind& plan, py::array values_in, int threads) {
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
          [](const PlanKind& plan, int threads) {
            py::array values = make_array(plan.dtype(), {plan.shape().nnz});
            void* data = values.mutable_data();
            without_gil([&] { plan.unpack(data, threads); });
            return values;
          },
          py::arg("threads"));
  return result;
}

}  // namespace sparsecore::bindings
