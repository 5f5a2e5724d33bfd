// DeviceCsr, and the functions that make one.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <utility>

#include "device.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

// Of arrays that are known to be valid: copies of a structure that the host has checked.
DeviceCsr adopted(std::pair<std::int64_t, std::int64_t> shape, py::object offsets,
                  py::object columns) {
  DeviceCsr csr;
  csr.view.rows = shape.first;
  csr.view.cols = shape.second;
  csr.view.offsets = device_indices(offsets, "offsets");
  csr.view.columns = device_indices(columns, "columns");
  csr.pieces.count = shape.first;
  csr.offsets = std::move(offsets);
  csr.columns = std::move(columns);
  return csr;
}

}  // namespace

void register_device_formats(py::module_& module) {
  py::class_<DeviceCsr>(module, "DeviceCsr", py::is_final())
      .def_property_readonly("shape",
                             [](const DeviceCsr& s) { return std::pair(s.view.rows, s.view.cols); })
      .def_property_readonly("nnz", [](const DeviceCsr& s) { return s.view.nnz(); })
      .def_property_readonly("indptr", [](const DeviceCsr& s) { return s.offsets; })
      .def_property_readonly("indices", [](const DeviceCsr& s) { return s.columns; });
  module.def("device_csr_adopted", adopted, py::arg("shape"), py::arg("offsets"),
             py::arg("columns"));
}

}  // namespace sparsecore::bindings
