// DeviceBitmap: a 16-bit matrix packed for products with few columns (cuda/bitmap.h).
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <utility>

#include "../cuda/bitmap.h"
#include "../ops.h"
#include "device.h"
#include "device_operands.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

struct DeviceBitmap {
  cuda::BitmapView view;
  py::object masks, offsets, values;  // tensors
};

// In memory of `memory`; of a matrix without entries, too, which needs none.
void* taken_values(const CsrView& a, const cuda::BitmapView& bitmap, TorchMemory& memory,
                   cuda::Stream stream) {
  void* room = memory.take(std::max<std::int64_t>(1, 2 * bitmap.most_items()));
  cuda::place_bitmap_values(a, bitmap, room, memory, stream);
  return room;
}

DeviceBitmap packed(const DeviceCsr& csr, py::handle values, const py::object& allocate,
                    std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, "A.data");
  if (a.dtype != DType::kFloat16 && a.dtype != DType::kBFloat16) {
    throw py::type_error(std::string("prepare: A is ") + dtype_name(a.dtype) +
                         ", expected float16 or bfloat16 for the kernel bitmap");
  }
  TorchMemory memory(allocate);
  DeviceBitmap made;
  made.view = cuda::bitmap_of(a, memory, stream_arg(stream));
  const void* room = taken_values(a, made.view, memory, stream_arg(stream));
  made.view.values = room;
  made.masks = memory.tensor_at(made.view.masks);
  made.offsets = memory.tensor_at(made.view.offsets);
  made.values = memory.tensor_at(room);
  return made;
}

// In new memory: products that were started keep the values they started with.
DeviceBitmap with_new_values(const DeviceBitmap& old, const DeviceCsr& csr, py::handle values,
                             const py::object& allocate, std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, "update: data");
  if (a.dtype != old.view.dtype) {
    throw TypeMismatch(std::string("update: data is ") + dtype_name(a.dtype) + ", the plan's is " +
                       dtype_name(old.view.dtype));
  }
  TorchMemory memory(allocate);
  DeviceBitmap made = old;
  const void* room = taken_values(a, made.view, memory, stream_arg(stream));
  made.view.values = room;
  made.values = memory.tensor_at(room);
  return made;
}

void unpacked(const DeviceBitmap& bitmap, const DeviceCsr& csr, py::handle values,
              const py::object& allocate, std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, "unpack: data");
  TorchMemory memory(allocate);
  cuda::unpack_bitmap_values(a, bitmap.view, const_cast<void*>(a.values), memory,
                             stream_arg(stream));
}

void multiplied(const DeviceBitmap& bitmap, const DeviceCsr& csr, py::handle x, py::handle out,
                const std::string& name, py::handle scale, py::handle bias, py::handle residual,
                py::handle activation, const py::object& allocate, std::uintptr_t stream) {
  const Product product = DeviceOperands{x, out, scale, bias, residual, activation}.product(name);
  CsrView a = csr.view;
  a.values = bitmap.view.values;
  a.dtype = bitmap.view.dtype;
  check_csr_matmul(a, product);
  TorchMemory memory(allocate);
  cuda::bitmap_product(bitmap.view, product.x, product.epilogue, product.out, memory,
                       stream_arg(stream));
}

}  // namespace

void register_device_bitmap(py::module_& module) {  // NOLINT(misc-const-correctness): as all
  py::class_<DeviceBitmap>(module, "DeviceBitmap", py::is_final())
      .def(py::init(&packed), py::arg("csr"), py::arg("values"), py::arg("allocate"),
           py::arg("stream"))
      .def_property_readonly("nbytes",
                             [](const DeviceBitmap& self) {
                               return device_array(self.masks).size() +
                                      device_array(self.offsets).size() +
                                      device_array(self.values).size();
                             })
      .def_property_readonly("tensors",
                             [](const DeviceBitmap& self) {
                               return py::make_tuple(self.masks, self.offsets, self.values);
                             })
      .def("with_values", with_new_values, py::arg("csr"), py::arg("values"), py::arg("allocate"),
           py::arg("stream"))
      .def("unpack", unpacked, py::arg("csr"), py::arg("values"), py::arg("allocate"),
           py::arg("stream"))
      .def("matmul", multiplied, py::arg("csr"), py::arg("x"), py::arg("out"), py::arg("name"),
           py::arg("scale"), py::arg("bias"), py::arg("residual"), py::arg("activation"),
           py::arg("allocate"), py::arg("stream"));
}

}  // namespace sparsecore::bindings
