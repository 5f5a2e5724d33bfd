// DeviceWide24: a 16-bit 2:4 matrix packed for products with many columns (cuda/wide24.h).
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>

#include "../cuda/wide24.h"
#include "../ops.h"
#include "device.h"
#include "device_operands.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

struct DeviceWide24 {
  cuda::Wide24View view;
  py::object metadata, values;  // tensors

  Shape shape() const { return {view.rows, view.cols}; }
};

DeviceWide24 packed(py::handle metadata, const Shape& shape, py::handle values,
                    const py::object& allocate, std::uintptr_t stream) {
  const Sparse24View a = sparse24_view(metadata, shape, values, "S.values");
  if (a.dtype != DType::kFloat16 && a.dtype != DType::kBFloat16) {
    throw py::type_error(std::string("sparse24_matmul: S is ") + dtype_name(a.dtype) +
                         ", expected float16 or bfloat16 for the kernel wide24");
  }
  if (!cuda::has_wide24()) {
    throw std::runtime_error(
        "sparse24_matmul: the kernel wide24 needs a device of compute capability 9.0, and a build "
        "for sm_90a");
  }
  TorchMemory memory(allocate);
  DeviceWide24 made;
  made.view = cuda::wide24_of(a, memory, stream_arg(stream));
  made.metadata = memory.tensor_at(made.view.metadata);
  made.values = memory.tensor_at(made.view.values);
  return made;
}

void multiplied(const DeviceWide24& wide, py::handle x, py::handle out, const std::string& name,
                py::handle scale, py::handle bias, py::handle residual, py::handle activation,
                const py::object& allocate, std::uintptr_t stream) {
  const Product product = DeviceOperands{x, out, scale, bias, residual, activation}.product(name);
  Sparse24View a;
  a.rows = wide.view.rows;
  a.cols = wide.view.cols;
  a.values = wide.view.values;
  a.dtype = wide.view.dtype;
  check_sparse24_matmul(a, product);
  if (product.x.dtype != a.dtype) {
    throw TypeMismatch(name + ": X is " + dtype_name(product.x.dtype) + ", expected " +
                       dtype_name(a.dtype) + ", as S has, for the kernel wide24");
  }
  TorchMemory memory(allocate);
  cuda::wide24_product(wide.view, product.x, product.epilogue, product.out, memory,
                       stream_arg(stream));
}

}  // namespace

void register_device_wide24(py::module_& module) {
  module.def("device_has_wide24", cuda::has_wide24);
  py::class_<DeviceWide24>(module, "DeviceWide24", py::is_final())
      .def(py::init(&packed), py::arg("metadata"), py::arg("shape"), py::arg("values"),
           py::arg("allocate"), py::arg("stream"))
      .def_property_readonly("nbytes",
                             [](const DeviceWide24& self) {
                               return device_array(self.metadata).size() +
                                      device_array(self.values).size();
                             })
      .def("matmul", multiplied, py::arg("x"), py::arg("out"), py::arg("name"), py::arg("scale"),
           py::arg("bias"), py::arg("residual"), py::arg("activation"), py::arg("allocate"),
           py::arg("stream"));
}

}  // namespace sparsecore::bindings
