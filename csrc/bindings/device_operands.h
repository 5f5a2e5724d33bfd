// The operands of a product on a device, as the core has them.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>

#include "../ops.h"
#include "device.h"
#include "options.h"

namespace sparsecore::bindings {

// The matrix with its values; a ValueError naming `name` for another number of them.
inline CsrView with_values(const DeviceCsr& csr, py::handle values, ArgName name) {
  const VectorView given = device_vector(values, name);
  if (given.size != csr.view.nnz()) {
    throw py::value_error(name.text() + " has " + std::to_string(given.size) +
                          " values, the matrix " + std::to_string(csr.view.nnz()) + " entries");
  }
  CsrView view = csr.view;
  view.values = given.data;
  view.dtype = given.dtype;
  return view;
}

// None for what is left out; `name` must outlive the result.
inline Product device_product(py::handle x, py::handle out, std::string_view name, py::handle scale,
                              py::handle bias, py::handle residual, py::handle activation) {
  const auto vector = [&](py::handle v, const char* what) {
    return v.is_none() ? VectorView{} : device_vector(v, {name, what});
  };
  return {.x = device_matrix(x, {name, "X"}),
          .epilogue = {vector(scale, "scale"), vector(bias, "bias"),
                       residual.is_none() ? MatrixView{} : device_matrix(residual, {name, "residual"}),
                       activation_arg(activation, name)},
          .out = device_matrix(out, {name, "out"}),
          .name = name};
}

}  // namespace sparsecore::bindings
