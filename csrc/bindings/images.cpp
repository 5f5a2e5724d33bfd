#include "images.h"

#include <string>
#include <utility>

namespace sparsecore::bindings {
namespace {

// The stride of an axis of one element may be any number: it becomes what the others continue to.
ImageView view_of(const py::array& array, DType dtype) {
  const auto stride = [&](int axis) {
    return array.shape(axis) > 1 ? array.strides(axis) / array.itemsize() : 0;
  };
  ImageView m{const_cast<void*>(array.data()),
              dtype,
              array.shape(0),
              array.shape(1),
              array.shape(2),
              array.shape(3),
              stride(0),
              stride(1),
              stride(2),
              stride(3)};
  if (m.width <= 1) m.col_stride = m.height > 1 ? m.row_stride : m.images > 1 ? m.image_stride : 1;
  if (m.height <= 1) m.row_stride = m.width * m.col_stride;
  return m;
}

}  // namespace

bool has_channels_last(const ImageView& m) {
  return m.channels > 1 && m.pixels() > 1 && m.channel_stride == 1 && m.col_stride != 1;
}

ImageArg image_arg(py::array array, ArgName name, bool evenly) {
  if (array.ndim() != 4) {
    throw py::type_error(name.text() + " has " + std::to_string(array.ndim()) +
                         " dimensions, expected 4: images, channels, height, width");
  }
  const DType dtype = evenly ? result_dtype_of(array, name) : dtype_of(array, name);
  ImageView view = view_of(array, dtype);
  if (!addressable(array) || (evenly && !view.lies_evenly())) {
    array = array.attr("copy")("C");
    view = view_of(array, dtype);
  }
  return {std::move(array), view};
}

py::array make_images(DType dtype, const std::array<std::int64_t, 4>& shape, bool channels_last) {
  const auto [images, channels, height, width] = shape;
  if (!channels_last) return make_array(dtype, {images, channels, height, width});
  return make_array(dtype, {images, height, width, channels}).attr("transpose")(0, 3, 1, 2);
}

}  // namespace sparsecore::bindings
