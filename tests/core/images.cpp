#include "images.h"

#include <cstdlib>
#include <vector>

namespace sparsecore::testing {
namespace {

Images::Shape strides_of(const Images::Shape& shape, ImageLayout layout) {
  const auto [images, channels, height, width] = shape;
  const auto planes = [&](Index col, Index row, Index gap) -> Images::Shape {
    const Index channel = row * height + gap;
    return {channel * channels + gap, channel, row, col};
  };
  const auto pixels = [&](Index col) -> Images::Shape {
    return {height * width * col, 1, width * col, col};
  };
  switch (layout) {
    case ImageLayout::kPlanes:
      return planes(1, width, 0);
    case ImageLayout::kPixels:
      return pixels(channels);
    case ImageLayout::kPlanesApart:
      return planes(1, width, 3);
    case ImageLayout::kPixelsApart:
      return pixels(channels + 2);
    case ImageLayout::kStrided:
      return planes(2, 2 * width, 1);
    case ImageLayout::kRowsApart:
      return planes(1, width + 3, 0);
    case ImageLayout::kReversed:
      break;
  }
  Images::Shape strides = planes(1, width, 0);
  for (Index& stride : strides) stride = -stride;
  return strides;
}

}  // namespace

Images::Images(DType dtype, const Shape& shape, ImageLayout layout, Index shift)
    : shape_(shape), strides_(strides_of(shape, layout)), items_(dtype, 0) {
  Index reach = 1;
  for (std::size_t axis = 0; axis < 4; ++axis) {
    if (shape[axis] == 0) return;
    reach += (shape[axis] - 1) * std::abs(strides_[axis]);
  }
  items_ = Array(dtype, reach, shift);
  if (layout == ImageLayout::kReversed) first_ = reach - 1;
}

Index Images::place(const Shape& where) const {
  Index place = first_;
  for (std::size_t axis = 0; axis < 4; ++axis) place += where[axis] * strides_[axis];
  return place;
}

ImageView Images::view() const {
  auto* const data = static_cast<std::byte*>(items_.data()) + first_ * item_size(dtype());
  return {data,      dtype(),     shape_[0],   shape_[1],   shape_[2],
          shape_[3], strides_[0], strides_[1], strides_[2], strides_[3]};
}

bool Images::gaps_are_untouched() const {
  std::vector<bool> is_element(at(items_.size()));
  for_each([&](const Shape& where) { is_element[at(place(where))] = true; });
  const std::byte* const bytes = items_.bytes().data();
  for (Index b = 0; b < items_.bytes().size(); ++b) {
    if (!is_element[at(b / item_size(dtype()))] && bytes[b] != std::byte{0xff}) return false;
  }
  return true;
}

Dense Images::rows(Index first, Index count) const {
  Dense result(dtype(), count, columns());
  for_each([&](const Shape& where) {
    const Index channel = where[1] - first;
    if (channel < 0 || channel >= count) return;
    const Index pixel = where[2] * shape_[3] + where[3];
    result.set(channel, where[0] * pixels() + pixel, get(where));
  });
  return result;
}

Images random_images(Rng& rng, DType dtype, const Images::Shape& shape, ImageLayout layout,
                     Index shift) {
  Images images(dtype, shape, layout, shift);
  images.for_each([&](const auto& where) { images.set(where, random_number(rng, dtype)); });
  return images;
}

Dense patches_of(const Images& x, const ConvGeometry& g, Index first, Index count) {
  const auto [images, channels, height, width] = x.shape();
  const Index out_height = g.out_size(0, height), out_width = g.out_size(1, width);
  Dense patches(x.dtype(), count * g.taps(), images * out_height * out_width);
  for (Index r = 0; r < patches.rows(); ++r) {
    const Index channel = first + r / g.taps(), tap = r % g.taps();
    for (Index c = 0; c < patches.cols(); ++c) {
      const Index image = c / (out_height * out_width), pixel = c % (out_height * out_width);
      const Index row =
          pixel / out_width * g.stride[0] - g.padding[0] + tap / g.kernel[1] * g.dilation[0];
      const Index col =
          pixel % out_width * g.stride[1] - g.padding[1] + tap % g.kernel[1] * g.dilation[1];
      const bool is_inside = row >= 0 && row < height && col >= 0 && col < width;
      patches.set(r, c, is_inside ? x.get({image, channel, row, col}) : 0);
    }
  }
  return patches;
}

}  // namespace sparsecore::testing
