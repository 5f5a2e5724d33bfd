#include "device_operands.h"

#include <cstddef>
#include <stdexcept>
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

Sparse24View sparse24_places(py::handle metadata, const Shape& shape) {
  const IndexView bytes = device_indices(metadata, "metadata");
  Sparse24View view;
  view.rows = shape.first;
  view.cols = shape.second;
  view.metadata = static_cast<const std::uint8_t*>(bytes.data);
  if (bytes.width != 1 || bytes.size != view.rows * view.metadata_bytes_per_row()) {
    throw std::invalid_argument(
        "metadata holds " + std::to_string(bytes.size) + " items, expected " +
        std::to_string(view.rows * view.metadata_bytes_per_row()) + " bytes");
  }
  return view;
}

Sparse24View sparse24_view(py::handle metadata, const Shape& shape, py::handle values,
                           ArgName name) {
  Sparse24View view = sparse24_places(metadata, shape);
  const MatrixView given = device_slots(values, name);
  const std::int64_t size = given.rows * given.cols;
  if (size != view.nnz()) {
    throw py::value_error(name.text() + " has shape (" + std::to_string(size) + ",), expected " +
                          std::to_string(view.nnz()) + " items");
  }
  if (given.cols != 1 || (size > 1 && given.row_stride != 1)) {
    throw py::value_error(name.text() + " must be contiguous");
  }
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
