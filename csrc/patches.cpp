#include "patches.h"

#include <algorithm>
#include <cassert>

namespace sparsecore {
namespace {

using Index = std::int64_t;

Index ceil_div(Index a, Index b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

std::uint64_t ones(Index begin, Index end) {
  if (begin >= end) return 0;
  const std::uint64_t below_end = end >= 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << end) - 1;
  return below_end >> begin << begin;
}

}  // namespace

Patches::Patches(const ImageView& image, const ConvGeometry& geometry)
    : image_(image),
      geometry_(geometry),
      height_(geometry.out_size(0, image.height)),
      width_(geometry.out_size(1, image.width)),
      rows_(inside(0, image.height, height_)),
      cols_(inside(1, image.width, width_)) {}

std::vector<Patches::Inside> Patches::inside(std::size_t axis, Index size, Index out_size) const {
  std::vector<Inside> result;
  for (Index place = 0; place < geometry_.kernel[axis]; ++place) {
    // Result pixel o meets pixel o * stride - shift of the image.
    const Index shift = geometry_.padding[axis] - place * geometry_.dilation[axis];
    const Index begin = std::max<Index>(0, ceil_div(shift, geometry_.stride[axis]));
    const Index end = std::min(out_size, ceil_div(size + shift, geometry_.stride[axis]));
    result.push_back({begin, end});
  }
  return result;
}

void Patches::describe(Index first, Index count, Index width, Columns* columns) const {
  assert(count >= 1 && count <= width && width <= kMostPatchColumns);
  columns->runs.clear();
  columns->taps.resize(static_cast<std::size_t>(taps()));
  PatchTap* tap = columns->taps.data();
  for (Index y = 0; y < geometry_.kernel[0]; ++y) {
    for (Index x = 0; x < geometry_.kernel[1]; ++x, ++tap) {
      *tap = {y * geometry_.dilation[0] * image_.row_stride +
                  x * geometry_.dilation[1] * image_.col_stride,
              0};
    }
  }
  for (Index j = 0; j < count;) {
    const Index pixel = (first + j) % pixels(), image = (first + j) / pixels();
    const Index row = pixel / width_, col = pixel % width_;
    const Index length = std::min(width_ - col, count - j);
    const Index source = image * image_.image_stride +
                         (row * geometry_.stride[0] - geometry_.padding[0]) * image_.row_stride +
                         (col * geometry_.stride[1] - geometry_.padding[1]) * image_.col_stride;
    // Where images are as wide as results, a run goes on over their rows.
    if (!columns->runs.empty() &&
        columns->runs.back().source + columns->runs.back().count * step() == source) {
      columns->runs.back().count += length;
    } else {
      columns->runs.push_back({j, length, source});
    }
    tap = columns->taps.data();
    for (const Inside& rows : rows_) {
      const bool meets = row >= rows.begin && row < rows.end;
      for (const Inside& cols : cols_) {
        const Index begin = std::max(cols.begin - col, Index{0});
        const Index end = std::min(cols.end - col, length);
        if (meets) tap->inside |= ones(j + begin, j + std::max(begin, end));
        ++tap;
      }
    }
    j += length;
  }
  columns->runs.back().count += width - count;  // which no tap meets inside
}

}  // namespace sparsecore
