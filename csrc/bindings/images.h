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

// Whether channels follow one another, not pixels: torch's channels_last order.
bool has_channels_last(const ImageView& m);

// A new array of images x channels x height x width, in one of the two orders.
py::array make_images(DType dtype, const std::array<std::int64_t, 4>& shape, bool channels_last);

}  // namespace sparsecore::bindings
