// DeviceStrips: a 16-bit matrix packed for products with few columns (cuda/strips.h).
#include <pybind11/pybind11.h>

#include <algorithm>
#include <string>
#include <utility>

#include "../cuda/strips.h"
#include "../ops.h"
#include "device.h"
#include "device_operands.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

struct DeviceStrips {
  cuda::StripView view;
  py::object places, offsets, values;  // tensors
};

cuda::StripForm form_of(const std::string& kernel) {
  if (kernel == "bitmap") return cuda::StripForm::kBitmap;
  if (kernel == "delta4") return cuda::StripForm::kDelta4;
  if (kernel == "delta8") return cuda::StripForm::kDelta8;
  throw py::value_error("prepare: kernel is '" + kernel + "', expected bitmap, delta4 or delta8");
}

// In memory of `memory`; of a matrix without entries, too, which needs none.
void* taken_values(const CsrView& a, const cuda::StripView& strips, TorchMemory& memory,
                   cuda::Stream stream) {
  void* room = memory.take(std::max<std::int64_t>(1, 2 * strips.slots));
  cuda::place_strip_values(a, strips, room, memory, stream);
  return room;
}

DeviceStrips packed(const DeviceCsr& csr, py::handle values, const std::string& kernel,
                    const py::object& allocate, std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, "A.data");
  if (a.dtype != DType::kFloat16 && a.dtype != DType::kBFloat16) {
    throw py::type_error(std::string("prepare: A is ") + dtype_name(a.dtype) +
                         ", expected float16 or bfloat16 for the kernel " + kernel);
  }
  TorchMemory memory(allocate);
  DeviceStrips made;
  const cuda::StripForm form = form_of(kernel);
  made.view = memory.waited([&] { return cuda::strips_of(a, form, memory, stream_arg(stream)); });
  const void* room = taken_values(a, made.view, memory, stream_arg(stream));
  made.view.values = room;
  made.places = memory.tensor_at(made.view.places);
  made.offsets = memory.tensor_at(made.view.offsets);
  made.values = memory.tensor_at(room);
  return made;
}

// In new memory: products that were started keep the values they started with.
DeviceStrips with_new_values(const DeviceStrips& old, const DeviceCsr& csr, py::handle values,
                             const py::object& allocate, std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, "update: data");
  if (a.dtype != old.view.dtype) {
    throw TypeMismatch(std::string("update: data is ") + dtype_name(a.dtype) + ", the plan's is " +
                       dtype_name(old.view.dtype));
  }
  TorchMemory memory(allocate);
  DeviceStrips made = old;
  const void* room = taken_values(a, made.view, memory, stream_arg(stream));
  made.view.values = room;
  made.values = memory.tensor_at(room);
  return made;
}

void unpacked(const DeviceStrips& strips, const DeviceCsr& csr, py::handle values,
              const py::object& allocate, std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, "unpack: data");
  TorchMemory memory(allocate);
  cuda::unpack_strip_values(a, strips.view, const_cast<void*>(a.values), memory,
                            stream_arg(stream));
}

void multiplied(const DeviceStrips& strips, const DeviceCsr& csr, py::handle x, py::handle out,
                const std::string& name, py::handle scale, py::handle bias, py::handle residual,
                py::handle activation, const py::object& allocate, std::uintptr_t stream) {
  const Product product = DeviceOperands{x, out, scale, bias, residual, activation}.product(name);
  CsrView a = csr.view;
  a.values = strips.view.values;
  a.dtype = strips.view.dtype;
  check_csr_matmul(a, product);
  TorchMemory memory(allocate);
  cuda::strip_product(strips.view, product.x, product.epilogue, product.out, memory,
                      stream_arg(stream));
}

}  // namespace

void register_device_strips(py::module_& module) {  // NOLINT(misc-const-correctness): as all
  py::class_<DeviceStrips>(module, "DeviceStrips", py::is_final())
      .def(py::init(&packed), py::arg("csr"), py::arg("values"), py::arg("kernel"),
           py::arg("allocate"), py::arg("stream"))
      .def_property_readonly("nbytes",
                             [](const DeviceStrips& self) {
                               return device_array(self.places).size() +
                                      device_array(self.offsets).size() +
                                      device_array(self.values).size();
                             })
      .def_property_readonly("tensors",
                             [](const DeviceStrips& self) {
                               return py::make_tuple(self.places, self.offsets, self.values);
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
