// The structures are those of DLPack 1.3, "C API (dlpack.h)" and "C Exchange API" of its manual.
#include "tensors.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "arrays.h"

namespace sparsecore::bindings {
namespace {

namespace dlpack {

constexpr std::int32_t kCpu = 1;
constexpr std::uint8_t kInt = 0, kFloat = 2, kBfloat = 4;

struct Tensor {
  std::byte* data;
  std::int32_t device, device_id;
  std::int32_t ndim;
  std::uint8_t kind, bits;
  std::uint16_t lanes;
  const std::int64_t* shape;
  const std::int64_t* strides;  // in elements
  std::uint64_t byte_offset;
};

struct Exchange {
  std::uint32_t major, minor;
  const void* older;
  const void *allocate, *owner_from_object, *object_from_owner;
  // Fills in what stays valid while the object lives, unchanged; 0, or an exception is set.
  int (*tensor_from_object)(PyObject* object, Tensor* tensor);
  const void* current_stream;
};

}  // namespace dlpack

// The exchange that an object's type offers; null where it offers none that we know.
const dlpack::Exchange* exchange_of(py::handle object) {
  static PyObject* const name = PyUnicode_InternFromString("__dlpack_c_exchange_api__");
  const auto capsule =
      py::reinterpret_steal<py::object>(PyObject_GetAttr(py::type::handle_of(object).ptr(), name));
  if (!capsule || !PyCapsule_CheckExact(capsule.ptr())) return nullptr;
  const auto* exchange = static_cast<const dlpack::Exchange*>(
      PyCapsule_GetPointer(capsule.ptr(), "dlpack_exchange_api"));
  const bool is_known = exchange != nullptr && exchange->major == 1;
  return is_known && exchange->tensor_from_object != nullptr ? exchange : nullptr;
}

std::optional<DType> dtype_of(const dlpack::Tensor& t) {
  if (t.lanes != 1) return std::nullopt;
  if (t.kind == dlpack::kFloat && t.bits == 64) return DType::kFloat64;
  if (t.kind == dlpack::kFloat && t.bits == 32) return DType::kFloat32;
  if (t.kind == dlpack::kFloat && t.bits == 16) return DType::kFloat16;
  if (t.kind == dlpack::kBfloat && t.bits == 16) return DType::kBFloat16;
  if (t.kind == dlpack::kInt && t.bits == 8) return DType::kInt8;
  if (t.kind == dlpack::kInt && t.bits == 32) return DType::kInt32;
  return std::nullopt;
}

// Whether its memory holds the negated values: DLPack knows nothing of that.
bool is_negated(py::handle tensor) {
  static PyObject* const name = PyUnicode_InternFromString("is_neg");
  const auto answer =
      py::reinterpret_steal<py::object>(PyObject_CallMethodNoArgs(tensor.ptr(), name));
  return answer.ptr() != Py_False;
}

}  // namespace

py::object tensor_view(py::handle tensor) {
  dlpack::Tensor t{};
  const dlpack::Exchange* exchange = exchange_of(tensor);
  if (exchange == nullptr || is_negated(tensor) ||
      exchange->tensor_from_object(tensor.ptr(), &t) != 0) {
    PyErr_Clear();
    return py::none();
  }
  const std::optional<DType> dtype = dtype_of(t);
  if (!dtype || t.device != dlpack::kCpu || t.data == nullptr) return py::none();
  const std::vector<py::ssize_t> shape(t.shape, t.shape + t.ndim);
  std::vector<py::ssize_t> strides(t.strides, t.strides + t.ndim);
  for (py::ssize_t& stride : strides) stride *= item_size(*dtype);
  return py::array(numpy_dtype(*dtype), shape, strides, t.data + t.byte_offset, tensor);
}

py::array array_arg(py::handle value, ArgName name) {
  if (py::isinstance<py::array>(value)) return py::reinterpret_borrow<py::array>(value);
  if (py::object view = tensor_view(value); !view.is_none()) return py::array(std::move(view));
  const py::object to_numpy = py::module_::import("sparsecore.interop").attr("to_numpy");
  return to_numpy(value, py::arg("name") = name.text());
}

py::object of_kind(py::array fresh, py::handle like) {
  if (py::isinstance<py::array>(like)) return fresh;
  if (result_dtype_of(fresh, "result") == DType::kBFloat16) {  // which torch cannot take from numpy
    return py::module_::import("sparsecore.interop").attr("as_tensor")(fresh);
  }
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> storage;
  auto& from_numpy = storage.call_once_and_store_result(
      [] { return py::object(py::module_::import("torch").attr("from_numpy")); });
  return from_numpy.get_stored()(fresh);
}

}  // namespace sparsecore::bindings
