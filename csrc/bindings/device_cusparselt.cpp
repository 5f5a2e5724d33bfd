// DeviceCusparseLt and what it compresses: tensors to views, check, call. No arithmetic here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "../cuda/cusparselt.h"
#include "../cuda/runtime.h"
#include "device.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

namespace lt = cuda::cusparselt;
using AlgorithmFields = std::tuple<int, int, int, int>;  // in the order of lt::Algorithm

struct DeviceCusparseLt {
  const lt::Api* api;
};

struct DeviceCusparseLtMatrix {
  lt::Compressed view;
  py::object data;  // a uint8 tensor
};

lt::DataType type_of(const DeviceArray& array, ArgName name) {
  const std::string given = dtype_name_of(array);
  if (const auto type = lt::data_type(given)) return *type;
  throw py::type_error(name.text() + " has dtype " + given +
                       ", expected float16, bfloat16, int8, float8_e4m3fn or float32");
}

lt::Matrix matrix_of(py::handle tensor, ArgName name) {
  const DeviceArray array = device_array(tensor);
  if (array.shape.size() != 2) {
    throw py::type_error(name.text() + " has " + std::to_string(array.shape.size()) +
                         " dimensions, expected 2");
  }
  return {array.data,     type_of(array, name), array.shape[0],
          array.shape[1], array.strides[0],     array.strides[1]};
}

lt::Vector vector_of(py::handle tensor, ArgName name) {
  if (tensor.is_none()) return {};
  const DeviceArray array = device_array(tensor);
  if (array.shape.size() != 1) {
    throw py::type_error(name.text() + " has " + std::to_string(array.shape.size()) +
                         " dimensions, expected 1");
  }
  return {array.data, type_of(array, name), array.shape[0], array.strides[0]};
}

lt::Ending ending_of(const std::optional<std::string>& activation, const std::string& name) {
  if (!activation) return lt::Ending::kNone;
  if (*activation == "relu") return lt::Ending::kRelu;
  if (*activation == "gelu") return lt::Ending::kGelu;
  throw py::value_error(name + ": activation is '" + *activation +
                        "', expected None, 'relu' or 'gelu'");
}

std::optional<lt::Algorithm> algorithm_of(const std::optional<AlgorithmFields>& given) {
  if (!given) return std::nullopt;
  const auto& [config_id, split_k, split_k_mode, split_k_buffers] = *given;
  return lt::Algorithm{config_id, split_k, split_k_mode, split_k_buffers};
}

// `name` must outlive the result.
lt::Product product_of(py::handle x, py::handle out, py::handle scale, py::handle bias,
                       const std::optional<std::string>& activation,
                       const std::optional<AlgorithmFields>& algorithm, const std::string& name) {
  return {.x = matrix_of(x, {name, "X"}),
          .out = matrix_of(out, {name, "out"}),
          .scale = vector_of(scale, {name, "scale"}),
          .bias = vector_of(bias, {name, "bias"}),
          .ending = ending_of(activation, name),
          .algorithm = algorithm_of(algorithm),
          .name = name};
}

DeviceCusparseLt opened(const std::string& override_path, const std::vector<std::string>& folders) {
  const lt::Loaded loaded = lt::load(override_path, folders);
  if (loaded.api == nullptr) throw std::runtime_error("cuSPARSELt: " + loaded.reason);
  return {loaded.api};
}

DeviceCusparseLtMatrix compressed(const DeviceCusparseLt& library, py::handle w, int device,
                                  const py::object& allocate, std::uintptr_t stream) {
  TorchMemory memory(allocate);
  const auto dense = matrix_of(w, "compress: W");
  const lt::Compressed made = memory.waited(
      [&] { return lt::compress(*library.api, device, dense, memory, stream_arg(stream)); });
  return {made, memory.tensor_at(made.data)};
}

void multiplied(const DeviceCusparseLtMatrix& s, py::handle x, py::handle out,
                const std::string& name, py::handle scale, py::handle bias,
                const std::optional<std::string>& activation,
                const std::optional<AlgorithmFields>& algorithm, const py::object& allocate,
                std::uintptr_t stream) {
  TorchMemory memory(allocate);
  lt::multiply(s.view, product_of(x, out, scale, bias, activation, algorithm, name), memory,
               stream_arg(stream));
}

AlgorithmFields searched(const DeviceCusparseLtMatrix& s, py::handle x, py::handle scratch,
                         const std::string& name, const py::object& allocate,
                         std::uintptr_t stream) {
  TorchMemory memory(allocate);
  const py::none none;
  const auto product = product_of(x, scratch, none, none, std::nullopt, std::nullopt, name);
  const lt::Algorithm found =
      memory.waited([&] { return lt::search(s.view, product, memory, stream_arg(stream)); });
  return {found.config_id, found.split_k, found.split_k_mode, found.split_k_buffers};
}

std::tuple<std::int64_t, std::int64_t, std::int64_t> plans(const DeviceCusparseLt& library,
                                                           int device) {
  const lt::PlanCounts counts = lt::plan_counts(*library.api, device);
  return {counts.made, counts.reused, counts.held};
}

}  // namespace

void register_device_cusparselt(py::module_& module) {  // NOLINT(misc-const-correctness): as all
  module.def("device_architecture", cuda::architecture, py::arg("device"));
  py::class_<DeviceCusparseLtMatrix>(module, "DeviceCusparseLtMatrix", py::is_final())
      .def_property_readonly("shape",
                             [](const DeviceCusparseLtMatrix& self) {
                               return std::make_pair(self.view.rows, self.view.cols);
                             })
      .def_property_readonly("nbytes",
                             [](const DeviceCusparseLtMatrix& self) { return self.view.bytes; })
      .def_property_readonly(
          "version",
          [](const DeviceCusparseLtMatrix& self) { return self.view.api->version.text(); })
      .def("matmul", multiplied, py::arg("x"), py::arg("out"), py::arg("name"), py::arg("scale"),
           py::arg("bias"), py::arg("activation"), py::arg("algorithm"), py::arg("allocate"),
           py::arg("stream"))
      .def("search", searched, py::arg("x"), py::arg("scratch"), py::arg("name"),
           py::arg("allocate"), py::arg("stream"));
  py::class_<DeviceCusparseLt>(module, "DeviceCusparseLt", py::is_final())
      .def(py::init(&opened), py::arg("override_path"), py::arg("folders"))
      .def_property_readonly("version",
                             [](const DeviceCusparseLt& self) { return self.api->version.text(); })
      .def_property_readonly("path", [](const DeviceCusparseLt& self) { return self.api->path; })
      .def("compress", compressed, py::arg("w"), py::arg("device"), py::arg("allocate"),
           py::arg("stream"))
      .def("plans", plans, py::arg("device"));
}

}  // namespace sparsecore::bindings
