// numpy arrays <-> views: dtype, rank and alignment are checked here and nowhere else.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../pages.h"
#include "../views.h"

namespace sparsecore::bindings {

namespace py = pybind11;

// Contiguous int64, as the Python side prepares every index argument.
using Int64Array = py::array_t<std::int64_t, py::array::c_style>;

// What messages call an argument: "csr_matmul: X", or its name alone. (Put together for a message
// only.)
class ArgName {
 public:
  ArgName(const char* argument) : argument_(argument) {}  // NOLINT(google-explicit-constructor)
  ArgName(std::string_view function, const char* argument)
      : function_(function), argument_(argument) {}
  std::string text() const;

 private:
  std::string_view function_;
  const char* argument_;
};

// The dtype of an array of values; a TypeError naming `name` for any that is not a storage type.
DType dtype_of(const py::array& array, ArgName name);
// The same for what a 2:4 matrix holds, which may also be float8_e4m3fn or float8_e5m2.
DType slot_dtype_of(const py::array& array, ArgName name);
// The same for a result, which may also be int32.
DType result_dtype_of(const py::array& array, ArgName name);
py::dtype numpy_dtype(DType dtype);

// No array at all. (The default constructor makes an empty one, which takes a tenth of a
// microsecond.)
inline py::array no_array() { return py::reinterpret_steal<py::array>(py::handle()); }

// An argument and what keeps its memory alive: the array itself, or an aligned copy.
struct DenseArg {
  py::array array = no_array();
  MatrixView view;
};

// A 1-D (n, seen as n x 1) or 2-D array of any strides.
DenseArg dense_arg(py::array array, ArgName name);
DenseArg matrix_arg(py::array array, ArgName name);  // 2-D only
DenseArg slots_arg(py::array array, ArgName name);   // 2-D only, of slot_dtype_of
DenseArg result_arg(py::array array, ArgName name);  // 1-D or 2-D, int32 too

// A 1-D argument and what keeps its memory alive.
struct VectorArg {
  py::array array = no_array();
  VectorView view;
};
VectorArg vector_arg(py::array array, ArgName name);

// Whether its elements lie at multiples of their size, as views count them.
bool addressable(const py::array& array);
bool is_contiguous(const py::array& array);    // in C order, and aligned to its items
bool is_column_major(const py::array& array);  // of two dimensions; others are row-major

// Values of exactly `size` items, contiguous; copied if they are not.
py::array values_arg(py::array array, ArgName name, std::int64_t size);

inline std::span<const std::int64_t> span_of(const Int64Array& array) {
  return {array.data(), static_cast<std::size_t>(array.size())};
}

Int64Array to_array(const std::vector<std::int64_t>& values);

// An uninitialised result; `column_major` asks for Fortran order.
py::array make_array(DType dtype, std::initializer_list<py::ssize_t> shape,
                     bool column_major = false);
// A vector that owns `items`.
py::array owning_array(DType dtype, std::int64_t size, Pages<std::byte> items);

}  // namespace sparsecore::bindings
