// Images, and what a convolution takes of them.
#pragma once

#include <array>
#include <cstdint>

#include "dtype.h"

namespace sparsecore {

// images x channels x height x width, strides counted in elements (negative and zero allowed).
struct ImageView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t images = 0;
  std::int64_t channels = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t image_stride = 0;
  std::int64_t channel_stride = 0;
  std::int64_t row_stride = 0;
  std::int64_t col_stride = 0;

  std::int64_t pixels() const { return height * width; }
  // Whether pixels follow one another at one distance, from row to row, too.
  bool lies_evenly() const { return height <= 1 || row_stride == width * col_stride; }
};

// {vertical, horizontal}, as torch's conv2d takes them. A tap is one place of the kernel.
struct ConvGeometry {
  using Pair = std::array<std::int64_t, 2>;
  Pair kernel{1, 1};
  Pair stride{1, 1};
  Pair padding{0, 0};
  Pair dilation{1, 1};
  std::int64_t groups = 1;

  std::int64_t taps() const { return kernel[0] * kernel[1]; }
  // The pixels that the kernel spans along an axis.
  std::int64_t span(std::size_t axis) const { return dilation[axis] * (kernel[axis] - 1) + 1; }
  // The result's pixels along an axis where the image has `size`; 0 where the kernel does not fit.
  std::int64_t out_size(std::size_t axis, std::int64_t size) const {
    const std::int64_t room = size + 2 * padding[axis] - span(axis);
    return room < 0 ? 0 : room / stride[axis] + 1;
  }
};

}  // namespace sparsecore
