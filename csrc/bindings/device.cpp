#include "device.h"

#include <algorithm>
#include <string>
#include <utility>

#include "registration.h"

namespace sparsecore::bindings {
namespace {

// An address as torch gives it, a number.
template <class Pointer>
Pointer pointer(std::uintptr_t address) {
  return reinterpret_cast<Pointer>(address);  // NOLINT(performance-no-int-to-ptr)
}

std::vector<std::int64_t> integers(const py::object& sequence) {
  std::vector<std::int64_t> values;
  for (const py::handle value : py::tuple(sequence)) values.push_back(value.cast<std::int64_t>());
  return values;
}

DType dtype_of(const DeviceArray& array, ArgName name, DType integers = DType::kInt8) {
  const std::string given = dtype_name_of(array);
  for (const DType dtype : {DType::kFloat64, DType::kFloat32, DType::kFloat16, DType::kBFloat16,
                            integers, DType::kInt8}) {
    if (given == dtype_name(dtype)) return dtype;
  }
  throw py::type_error(name.text() + " has dtype " + given +
                       ", expected float64, float32, float16, bfloat16 or " + dtype_name(integers));
}

DType slot_dtype_of(const DeviceArray& array, ArgName name) {
  const std::string given = dtype_name_of(array);
  for (const DType dtype : {DType::kFloat8E4M3, DType::kFloat8E5M2}) {
    if (given == dtype_name(dtype)) return dtype;
  }
  return dtype_of(array, name);
}

void require_axes(const DeviceArray& array, std::size_t least, std::size_t most, ArgName name) {
  if (array.shape.size() >= least && array.shape.size() <= most) return;
  throw py::type_error(name.text() + " has " + std::to_string(array.shape.size()) +
                       " dimensions, expected " +
                       (least == most ? std::to_string(least) : "1 or 2"));
}

// A kernel that reads an item across its natural boundary would end the process's use of the
// device.
void require_aligned(const DeviceArray& array, DType dtype, ArgName name) {
  const auto item = static_cast<std::uintptr_t>(item_size(dtype));
  if (reinterpret_cast<std::uintptr_t>(array.data) % item == 0) return;
  throw py::value_error(name.text() + " does not lie at a multiple of its items' " +
                        std::to_string(item) + " bytes in memory");
}

MatrixView matrix_of(const DeviceArray& array, DType dtype, ArgName name) {
  require_aligned(array, dtype, name);
  if (array.shape.size() == 1) return {array.data, dtype, array.shape[0], 1, array.strides[0], 1};
  return {array.data, dtype, array.shape[0], array.shape[1], array.strides[0], array.strides[1]};
}

}  // namespace

std::int64_t DeviceArray::size() const {
  std::int64_t size = 1;
  for (const std::int64_t length : shape) size *= length;
  return size;
}

std::string dtype_name_of(const DeviceArray& array) {
  const std::string name = py::str(array.dtype);
  return name.substr(name.find('.') + 1);
}

DeviceArray device_array(py::handle tensor) {
  return {pointer<std::byte*>(tensor.attr("data_ptr")().cast<std::uintptr_t>()),
          tensor.attr("dtype"), integers(tensor.attr("shape")), integers(tensor.attr("stride")())};
}

DType device_dtype(py::handle tensor, ArgName name) { return dtype_of(device_array(tensor), name); }

MatrixView device_matrix(py::handle tensor, ArgName name) {
  const DeviceArray array = device_array(tensor);
  require_axes(array, 1, 2, name);
  return matrix_of(array, dtype_of(array, name), name);
}

MatrixView device_slots(py::handle tensor, ArgName name) {
  const DeviceArray array = device_array(tensor);
  require_axes(array, 1, 2, name);
  return matrix_of(array, slot_dtype_of(array, name), name);
}

MatrixView device_result(py::handle tensor, ArgName name) {
  const DeviceArray array = device_array(tensor);
  require_axes(array, 1, 2, name);
  return matrix_of(array, dtype_of(array, name, DType::kInt32), name);
}

VectorView device_vector(py::handle tensor, ArgName name) {
  const DeviceArray array = device_array(tensor);
  require_axes(array, 1, 1, name);
  const MatrixView column = matrix_of(array, dtype_of(array, name), name);
  return {column.data, column.dtype, column.rows, column.row_stride};
}

IndexView device_indices(py::handle tensor, ArgName name) {
  const DeviceArray array = device_array(tensor);
  require_axes(array, 1, 1, name);
  const int width = tensor.attr("itemsize").cast<int>();
  if (array.shape[0] > 1 && array.strides[0] != 1) {
    throw py::type_error(name.text() + " must be contiguous");
  }
  return {array.data, width, array.shape[0]};
}

void* TorchMemory::take(std::int64_t bytes) {
  void* data = nullptr;
  with_gil([&] {
    py::object tensor = allocate_(bytes);
    data = device_array(tensor).data;
    taken_.emplace_back(data, std::move(tensor));
  });
  return data;
}

py::object TorchMemory::tensor_at(const void* data) const {
  const auto found = std::find_if(taken_.begin(), taken_.end(),
                                  [&](const auto& taken) { return taken.first == data; });
  return found == taken_.end() || data == nullptr ? py::none() : found->second;
}

cuda::Stream stream_arg(std::uintptr_t stream) { return pointer<cuda::Stream>(stream); }

}  // namespace sparsecore::bindings
