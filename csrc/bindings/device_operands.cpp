#include "device_operands.h"

#include <cstddef>
#include <string>

#include "options.h"

namespace sparsecore::bindings {
namespace {

// torch gives empty tensors no address, where views without one are absent ones.
template <class View>
View present(View view) {
  static std::byte nothing;
  if (view.data == nullptr) view.data = &nothing;
  return view;
}

MatrixView optional_matrix(py::handle tensor, ArgName name) {
  return tensor.is_none() ? MatrixView{} : present(device_result(tensor, name));
}

VectorView optional_vector(py::handle tensor, ArgName name) {
  return tensor.is_none() ? VectorView{} : present(device_vector(tensor, name));
}

}  // namespace

CsrView with_values(const DeviceCsr& csr, py::handle values, ArgName name) {
  const VectorView given = device_vector(values, name);
  if (given.size != csr.view.nnz()) {
    throw py::value_error(name.text() + " has shape (" + std::to_string(given.size) +
                          ",), expected " + std::to_string(csr.view.nnz()) + " items");
  }
  if (given.size > 1 && given.stride != 1) {
    throw py::value_error(name.text() + " must be contiguous");
  }
  CsrView view = csr.view;
  view.values = given.data;
  view.dtype = given.dtype;
  return view;
}

Product DeviceOperands::product(std::string_view name) const {
  return {
      .x = device_matrix(x, {name, "X"}),
      .epilogue = {optional_vector(scale, {name, "scale"}), optional_vector(bias, {name, "bias"}),
                   optional_matrix(residual, {name, "residual"}), activation_arg(activation, name)},
      .out = device_result(out, {name, "out"}),
      .name = name};
}

}  // namespace sparsecore::bindings
