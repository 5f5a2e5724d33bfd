#include "arrays.h"

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <optional>
#include <utility>

#include "../block_pool.h"

namespace sparsecore::bindings {
namespace {

// Those that numpy itself does not have: bfloat16, float8_e4m3fn, float8_e5m2.
template <DType kDType>
py::dtype ml_dtype() {
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> storage;
  return py::reinterpret_borrow<py::dtype>(
      storage
          .call_once_and_store_result([] {
            const py::object module = py::module_::import("ml_dtypes");
            return py::object(py::dtype::from_args(module.attr(dtype_name(kDType))));
          })
          .get_stored());
}

std::string shape_text(const py::array& array) { return py::str(array.attr("shape")); }

std::string dtype_text(const py::array& array) { return py::str(array.dtype()); }

std::optional<DType> storage_dtype(const py::dtype& dtype) {
  if (dtype.byteorder() == '>') return std::nullopt;
  const char kind = dtype.kind();
  const py::ssize_t size = dtype.itemsize();
  if (kind == 'f' && size == 8) return DType::kFloat64;
  if (kind == 'f' && size == 4) return DType::kFloat32;
  if (kind == 'f' && size == 2) return DType::kFloat16;
  if (kind == 'i' && size == 1) return DType::kInt8;
  if (kind == 'i' && size == 4) return DType::kInt32;
  if (dtype.num() == ml_dtype<DType::kBFloat16>().num()) return DType::kBFloat16;
  return std::nullopt;
}

}  // namespace

bool addressable(const py::array& array) {
  const py::ssize_t item = array.itemsize();
  if (reinterpret_cast<std::uintptr_t>(array.data()) % static_cast<std::uintptr_t>(item) != 0) {
    return false;
  }
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    if (array.strides(axis) % item != 0) return false;
  }
  return true;
}

std::string ArgName::text() const {
  return (function_.empty() ? "" : std::string(function_) + ": ") + argument_;
}

DType dtype_of(const py::array& array, ArgName name) {
  const std::optional<DType> dtype = storage_dtype(array.dtype());
  if (dtype && *dtype != DType::kInt32) return *dtype;
  throw py::type_error(name.text() + " has dtype " + dtype_text(array) +
                       ", expected float64, float32, float16, bfloat16 or int8");
}

DType slot_dtype_of(const py::array& array, ArgName name) {
  const int number = array.dtype().num();
  if (number == ml_dtype<DType::kFloat8E4M3>().num()) return DType::kFloat8E4M3;
  if (number == ml_dtype<DType::kFloat8E5M2>().num()) return DType::kFloat8E5M2;
  return dtype_of(array, name);
}

DType result_dtype_of(const py::array& array, ArgName name) {
  if (const std::optional<DType> dtype = storage_dtype(array.dtype())) return *dtype;
  throw py::type_error(name.text() + " has dtype " + dtype_text(array) +
                       ", expected float64, float32, float16, bfloat16 or int32");
}

py::dtype numpy_dtype(DType dtype) {
  constexpr int kHalfTypeNumber = 23;  // numpy's NPY_HALF
  switch (dtype) {
    case DType::kFloat64:
      return py::dtype::of<double>();
    case DType::kFloat32:
      return py::dtype::of<float>();
    case DType::kFloat16:
      return py::dtype(kHalfTypeNumber);
    case DType::kInt8:
      return py::dtype::of<std::int8_t>();
    case DType::kInt32:
      return py::dtype::of<std::int32_t>();
    case DType::kFloat8E4M3:
      return ml_dtype<DType::kFloat8E4M3>();
    case DType::kFloat8E5M2:
      return ml_dtype<DType::kFloat8E5M2>();
    case DType::kBFloat16:
      break;
  }
  return ml_dtype<DType::kBFloat16>();
}

namespace {

DenseArg view_of(py::array array, DType dtype) {
  if (!addressable(array)) array = array.attr("copy")("C");
  const py::ssize_t item = array.itemsize();
  MatrixView view{const_cast<void*>(array.data()), dtype, array.shape(0), 1,
                  array.strides(0) / item,         1};
  if (array.ndim() == 2) {
    view.cols = array.shape(1);
    view.col_stride = array.strides(1) / item;
  }
  return {std::move(array), view};
}

void require_rank(const py::array& array, ArgName name, py::ssize_t low, py::ssize_t high) {
  if (array.ndim() >= low && array.ndim() <= high) return;
  throw py::type_error(
      name.text() + " has " + std::to_string(array.ndim()) + " dimensions, expected " +
      (low == high ? std::to_string(low) : std::to_string(low) + " or " + std::to_string(high)));
}

}  // namespace

DenseArg dense_arg(py::array array, ArgName name) {
  require_rank(array, name, 1, 2);
  const DType dtype = dtype_of(array, name);
  return view_of(std::move(array), dtype);
}

DenseArg matrix_arg(py::array array, ArgName name) {
  require_rank(array, name, 2, 2);
  return dense_arg(std::move(array), name);
}

DenseArg slots_arg(py::array array, ArgName name) {
  require_rank(array, name, 2, 2);
  const DType dtype = slot_dtype_of(array, name);
  return view_of(std::move(array), dtype);
}

DenseArg result_arg(py::array array, ArgName name) {
  require_rank(array, name, 1, 2);
  const DType dtype = result_dtype_of(array, name);
  return view_of(std::move(array), dtype);
}

VectorArg vector_arg(py::array array, ArgName name) {
  require_rank(array, name, 1, 1);
  DenseArg column = dense_arg(std::move(array), name);
  const MatrixView& view = column.view;
  return {std::move(column.array), {view.data, view.dtype, view.rows, view.row_stride}};
}

bool is_contiguous(const py::array& array) {
  return (array.flags() & py::array::c_style) != 0 && addressable(array);
}

bool is_column_major(const py::array& array) {
  return array.ndim() == 2 && array.shape(0) > 1 && array.shape(1) > 1 &&
         std::abs(array.strides(0)) < std::abs(array.strides(1));
}

py::array values_arg(py::array array, ArgName name, std::int64_t size) {
  dtype_of(array, name);
  if (array.size() != size) {
    throw py::value_error(name.text() + " has shape " + shape_text(array) + ", expected " +
                          std::to_string(size) + " items");
  }
  if (!is_contiguous(array)) array = array.attr("copy")("C");
  return array;
}

Int64Array to_array(const std::vector<std::int64_t>& values) {
  Int64Array array(static_cast<py::ssize_t>(values.size()));
  std::copy(values.begin(), values.end(), array.mutable_data());
  return array;
}

namespace {

// A large array, in memory that goes back to the pool with it.
py::array make_large(DType dtype, std::initializer_list<py::ssize_t> shape, bool column_major,
                     std::size_t bytes) {
  auto owner = std::make_unique<BlockPool::Block>(BlockPool::take(bytes));
  const py::capsule capsule(owner.get(), [](void* p) { delete static_cast<BlockPool::Block*>(p); });
  const void* const data = owner->get();
  [[maybe_unused]] const auto* const kept = owner.release();  // the capsule's now
  const py::ssize_t item = item_size(dtype);
  return py::array(numpy_dtype(dtype), shape,
                   column_major ? py::detail::f_strides(std::vector(shape), item)
                                : py::detail::c_strides(std::vector(shape), item),
                   data, capsule);
}

}  // namespace

// By numpy's own call: py::array's constructor, which works out strides for it, takes as long
// again.
py::array make_array(DType dtype, std::initializer_list<py::ssize_t> shape, bool column_major) {
  std::size_t bytes = static_cast<std::size_t>(item_size(dtype));
  for (const py::ssize_t size : shape) bytes *= static_cast<std::size_t>(size);
  if (bytes >= kLargeResult && bytes <= kLargestPooled) {
    return make_large(dtype, shape, column_major, bytes);
  }
  const auto& numpy = py::detail::npy_api::get();
  const int order = column_major ? py::detail::npy_api::NPY_ARRAY_F_CONTIGUOUS_ : 0;
  auto array = py::reinterpret_steal<py::array>(numpy.PyArray_NewFromDescr_(
      numpy.PyArray_Type_, numpy_dtype(dtype).release().ptr(), static_cast<int>(shape.size()),
      shape.begin(), nullptr, nullptr, order, nullptr));
  if (!array) throw py::error_already_set();
  return array;
}

py::array owning_array(DType dtype, std::int64_t size, Pages<std::byte> items) {
  auto owner = std::make_unique<Pages<std::byte>>(std::move(items));
  const void* data = owner->data();
  const py::capsule capsule(owner.get(), [](void* p) { delete static_cast<Pages<std::byte>*>(p); });
  [[maybe_unused]] const auto* const kept = owner.release();  // the capsule's now
  return py::array(numpy_dtype(dtype), {size}, {item_size(dtype)}, data, capsule);
}

}  // namespace sparsecore::bindings
