// 4-D arrays <-> views of images.
#pragma once

#include <pybind11/numpy.h>

#include <array>
#include <cstdint>

#include "../image.h"
#include "arrays.h"

namespace sparsecore::bindings {

// A 4-D array and what keeps its memory alive: the array itself, or a copy where its elements are
// not aligned or, if `evenly`, its pixels leave gaps.
struct ImageArg {
  py::array array = no_array();
  ImageView view;
};

// `evenly`: as results and residuals lie, which may be int32, too.
ImageArg image_arg(py::array array, ArgName name, bool evenly);

// A new array of images x channels x height x width, in the memory order of `x`.
py::array make_images(DType dtype, const std::array<std::int64_t, 4>& shape, const ImageView& x);

}  // namespace sparsecore::bindings
