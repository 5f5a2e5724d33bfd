#include "pool.h"

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <string>

#include "ops.h"
#include "parallel.h"
#include "plans/accumulate.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

template <class T>
T* plane_of(const ImageView& m, Index plane) {
  return static_cast<T*>(m.data) + plane / m.channels * m.image_stride +
         plane % m.channels * m.channel_stride;
}

bool lies_in_rows(const ImageView& m) {
  return (m.col_stride == 1 || m.width == 1) && (m.row_stride == m.width || m.height == 1);
}

template <class T>
void copy_plane(const T* from, Index row_stride, Index col_stride, const ImageView& size, T* to,
                Index to_row_stride, Index to_col_stride) {
  for (Index y = 0; y < size.height; ++y) {
    for (Index x = 0; x < size.width; ++x) {
      to[y * to_row_stride + x * to_col_stride] = from[y * row_stride + x * col_stride];
    }
  }
}

}  // namespace

MaxPool::MaxPool(const ConvGeometry& geometry) : geometry_(geometry) {
  for (const std::size_t axis : {std::size_t{0}, std::size_t{1}}) {
    const Index kernel = geometry.kernel[axis], padding = geometry.padding[axis];
    if (kernel < 1 || geometry.stride[axis] < 1 || padding < 0 || padding > kernel / 2) {
      throw std::invalid_argument(
          "max_pool2d: expected a kernel and strides of 1 or more and at most half the kernel "
          "padded");
    }
  }
}

ImageView MaxPool::result(std::string_view name, const ImageView& x) const {
  if (x.dtype != DType::kFloat32 && x.dtype != DType::kFloat64) {
    throw TypeMismatch(std::string(name) + ": x is " + dtype_name(x.dtype) +
                       ", expected float32 or float64");
  }
  ImageView y;
  y.dtype = x.dtype;
  y.images = x.images;
  y.channels = x.channels;
  y.height = geometry_.out_size(0, x.height);
  y.width = geometry_.out_size(1, x.width);
  if (y.height == 0 || y.width == 0) {
    throw std::invalid_argument(std::string(name) + ": x is " + std::to_string(x.height) + " x " +
                                std::to_string(x.width) + ", smaller than the kernel");
  }
  return y;
}

template <class T>
void MaxPool::run_as(const ImageView& x, const ImageView& out, int threads) const {
  const Kernels<T>& k = kernels<T>();
  const Index planes = x.images * x.channels;
  const double ns = copy_ns(planes * (x.pixels() + geometry_.taps() * out.pixels()));
  const int useful = useful_threads(threads, ns);
  // Of the windows' rows: what lies beside the image, and a vector that reads beyond.
  const Index row = (x.width + 2 * geometry_.padding[1] + 2 * k.lanes + 63) / 64 * 64;
  const bool copies_x = x.col_stride != 1, copies_out = !lies_in_rows(out);
  const auto run_planes = [&](Index begin, Index end) {
    const Scratch<T> scratch(row + (copies_x ? x.pixels() : 0) + (copies_out ? out.pixels() : 0));
    std::fill_n(scratch.data(), row, -std::numeric_limits<T>::infinity());
    T* const x_copy = scratch.data() + row;
    T* const out_copy = x_copy + (copies_x ? x.pixels() : 0);
    for (Index p = begin; p < end; ++p) {
      const T* const from = plane_of<T>(x, p);
      T* const to = plane_of<T>(out, p);
      if (copies_x) copy_plane(from, x.row_stride, x.col_stride, x, x_copy, x.width, Index{1});
      k.max_pool({copies_x ? x_copy : from, copies_x ? x.width : x.row_stride, x.height, x.width,
                  geometry_.kernel, geometry_.stride, geometry_.padding, copies_out ? out_copy : to,
                  out.height, out.width, scratch.data()});
      if (copies_out) {
        copy_plane(out_copy, out.width, Index{1}, out, to, out.row_stride, out.col_stride);
      }
    }
  };
  parallel_for(planes, useful, ns, [&] { return even_bounds(planes, useful, ns); }, run_planes);
}

void MaxPool::run(const ImageView& x, const ImageView& out, int threads) const {
  if (x.dtype == DType::kFloat64) return run_as<double>(x, out, threads);
  run_as<float>(x, out, threads);
}

}  // namespace sparsecore
