// 2:4 matrices on a device: tensors to views, launch, results to tensors. No arithmetic here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "../cuda/compress24.h"
#include "../cuda/expand24.h"
#include "../cuda/spmm24.h"
#include "../ops.h"
#include "device.h"
#include "device_operands.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

// A uint8 tensor: one of its own where there is nothing, which has no address.
py::object tensor_of(const TorchMemory& memory, const void* data, std::int64_t size,
                     const py::object& allocate) {
  return size == 0 ? allocate(0) : memory.tensor_at(data);
}

void prune_24(py::handle dense, py::handle mask, py::object allocate, std::uintptr_t stream) {
  const MatrixView view = device_slots(dense, "W");
  const IndexView to = device_indices(mask, "mask");
  if (to.width != 1 || to.size != view.rows * view.cols) {
    throw std::invalid_argument("mask has a byte for each item of W");
  }
  TorchMemory memory(std::move(allocate));
  cuda::prune24(view, static_cast<std::uint8_t*>(const_cast<void*>(to.data)), memory,
                stream_arg(stream));
}

py::object compress_24(py::handle dense, bool prune, const py::object& allocate,
                       std::uintptr_t stream) {
  const MatrixView view = device_slots(dense, "W");
  TorchMemory memory(allocate);
  const cuda::Compressed24 made =
      memory.waited([&] { return cuda::compress24(view, prune, memory, stream_arg(stream)); });
  if (!made.is_24) return py::none();
  const std::int64_t slots = view.rows * ((view.cols + 3) / 4 * 2);
  const std::int64_t bytes = view.rows * ((view.cols + 7) / 8);
  return py::make_tuple(tensor_of(memory, made.values, slots, allocate),
                        tensor_of(memory, made.metadata, bytes, allocate));
}

bool is_valid(py::handle metadata, const Shape& shape, py::handle values, py::object allocate,
              std::uintptr_t stream) {
  const Sparse24View view = values.is_none()
                                ? sparse24_places(metadata, shape)
                                : sparse24_view(metadata, shape, values, "Sparse24: values");
  TorchMemory memory(std::move(allocate));
  return memory.waited([&] { return cuda::is_valid24(view, memory, stream_arg(stream)); });
}

py::object columns(py::handle metadata, const Shape& shape, const py::object& allocate,
                   std::uintptr_t stream) {
  const Sparse24View view = sparse24_places(metadata, shape);
  TorchMemory memory(allocate);
  auto* const ids = memory.take_items<std::int64_t>(view.nnz());
  cuda::columns24(view, ids, stream_arg(stream));
  return tensor_of(memory, ids, view.nnz(), allocate);
}

void to_dense(py::handle metadata, const Shape& shape, py::handle values, py::handle out,
              std::uintptr_t stream) {
  const Sparse24View view = sparse24_view(metadata, shape, values, "values");
  const MatrixView to = device_slots(out, "out");
  const bool is_contiguous = (to.rows <= 1 || to.cols == 0 || to.row_stride == to.cols) &&
                             (to.cols <= 1 || to.col_stride == 1);
  if (to.rows != view.rows || to.cols != view.cols || to.dtype != view.dtype || !is_contiguous) {
    throw std::invalid_argument("out is a contiguous matrix of the same shape and dtype");
  }
  cuda::expand24(view, to.data, stream_arg(stream));
}

void sparse24_matmul_run(py::handle metadata, const Shape& shape, py::handle values, py::handle x,
                         py::handle out, const std::string& name, py::handle scale, py::handle bias,
                         py::handle residual, py::handle activation, py::object allocate,
                         std::uintptr_t stream) {
  const Sparse24View a = sparse24_view(metadata, shape, values, {name, "S.values"});
  const Product product = DeviceOperands{x, out, scale, bias, residual, activation}.product(name);
  check_sparse24_matmul(a, product);
  TorchMemory memory(std::move(allocate));
  cuda::sparse24_product(a, product.x, product.epilogue, product.out, memory, stream_arg(stream));
}

}  // namespace

void register_device_sparse24(py::module_& module) {
  module.def("device_prune_24", prune_24, py::arg("dense"), py::arg("mask"), py::arg("allocate"),
             py::arg("stream"));
  module.def("device_compress_24", compress_24, py::arg("dense"), py::arg("prune"),
             py::arg("allocate"), py::arg("stream"));
  module.def("device_sparse24_is_valid", is_valid, py::arg("metadata"), py::arg("shape"),
             py::arg("values"), py::arg("allocate"), py::arg("stream"));
  module.def("device_sparse24_columns", columns, py::arg("metadata"), py::arg("shape"),
             py::arg("allocate"), py::arg("stream"));
  module.def("device_sparse24_to_dense", to_dense, py::arg("metadata"), py::arg("shape"),
             py::arg("values"), py::arg("out"), py::arg("stream"));
  module.def("device_sparse24_matmul", sparse24_matmul_run, py::arg("metadata"), py::arg("shape"),
             py::arg("values"), py::arg("x"), py::arg("out"), py::arg("name"), py::arg("scale"),
             py::arg("bias"), py::arg("residual"), py::arg("activation"), py::arg("allocate"),
             py::arg("stream"));
}

}  // namespace sparsecore::bindings
