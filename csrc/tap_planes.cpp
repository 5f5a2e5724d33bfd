#include "tap_planes.h"

#include <algorithm>

namespace sparsecore {
namespace {

using Index = std::int64_t;

// Of the planes of a strip: leaves half of a small second-level cache to weights and sums.
constexpr Index kPlaneBytes = Index{256} << 10;
constexpr Index kLineBytes = 64;

Index ceil_div(Index a, Index b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }
Index up_to_multiple(Index a, Index of) { return (a + of - 1) / of * of; }

}  // namespace

TapPlanes::TapPlanes(const ConvGeometry& geometry, Index height, Index width, Index channels,
                     Index item)
    : geometry_(geometry),
      image_height_(height),
      image_width_(width),
      height_(geometry.out_size(0, height)),
      width_(geometry.out_size(1, width)),
      phases_(std::min(geometry.stride[0], geometry.kernel[0])),
      more_rows_((geometry.kernel[0] - 1) * geometry.dilation[0] / geometry.stride[0]) {
  const Index row_bytes = std::max<Index>(channels * count() * width_ * item, 1);
  const Index rows = std::max<Index>(height_, 1);
  const Index most = std::clamp<Index>(kPlaneBytes / row_bytes - more_rows_, 1, rows);
  strip_rows_ = ceil_div(rows, ceil_div(rows, most));  // strips of nearly equal height
  // Tiles of whole vectors read up to a line beyond the strip. An odd number of lines: planes would
  // otherwise meet in the same sets of the cache.
  const Index line = kLineBytes / item;
  const Index elements = up_to_multiple(strip_rows_ * width_, line) + more_rows_ * width_;
  stride_ = (up_to_multiple(elements, line) / line | 1) * line;
}

// A tap `down` rows below the first meets, in row y of the result, row (y * stride + down) of the
// image (but for the padding): row y + down / stride of the phase down % stride.
Index TapPlanes::place(Index tap) const {
  const Index down = tap / geometry_.kernel[1] * geometry_.dilation[0];
  const Index phase = down % geometry_.stride[0] % phases_;
  return (tap % geometry_.kernel[1] * phases_ + phase) * stride_ +
         down / geometry_.stride[0] * width_;
}

double TapPlanes::copied() const {
  return static_cast<double>(count() * (strip_rows_ + more_rows_)) /
         static_cast<double>(strip_rows_);
}

std::vector<TapPlane> TapPlanes::describe(Index first_row) const {
  const Index rows = std::min(strip_rows_, height_ - first_row) + more_rows_;
  std::vector<TapPlane> planes;
  for (Index x = 0; x < geometry_.kernel[1]; ++x) {
    const Index shift = x * geometry_.dilation[1] - geometry_.padding[1];
    const Index col_begin = std::clamp<Index>(ceil_div(-shift, geometry_.stride[1]), 0, width_);
    const Index col_end =
        std::clamp(ceil_div(image_width_ - shift, geometry_.stride[1]), col_begin, width_);
    for (Index phase = 0; phase < phases_; ++phase) {
      const Index row = first_row * geometry_.stride[0] + phase - geometry_.padding[0];
      const Index row_begin = std::clamp<Index>(ceil_div(-row, geometry_.stride[0]), 0, rows);
      const Index row_end =
          std::clamp(ceil_div(image_height_ - row, geometry_.stride[0]), row_begin, rows);
      planes.push_back({row, shift, row_begin, row_end, col_begin, col_end});
    }
  }
  return planes;
}

}  // namespace sparsecore
