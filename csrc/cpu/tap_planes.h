// Planes of a strip of a convolution's right side (tap_planes.h has the layout): rows of an image,
// shifted by a column of taps, with zeros beyond the image's edge.
//
// Why: where a channel's weights have few entries, a product reads its rows of the right side so
// seldom that copying them, tap by tap (patches.h), costs more than the product. Here 3 x 3 taps
// cost three copies, and a little for rows that strips share.
// Bytes: every plane is written once, the image read once a plane. Bound by loads and stores.
// Preconditions: the image has the accumulator's type.
#pragma once

#include "convert.h"
#include "simd.h"
#include "step_mask.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc>
SPARSECORE_INLINE void fill_zeros(Acc* to, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) to[i] = Acc(0);
}

// Lanes [begin, end) of a vector that begins with column j.
template <class T>
SPARSECORE_INLINE std::uint64_t lanes_between(std::int64_t j, std::int64_t begin,
                                              std::int64_t end) {
  const auto bits = [j](std::int64_t until) {
    const std::int64_t n = until - j < 0 ? 0 : until - j < kLanes<T> ? until - j : kLanes<T>;
    return (std::uint64_t{1} << n) - 1;
  };
  return bits(end) & ~bits(begin);
}

// Rows of one vector of columns; the arguments are values, as stores might change what a reference
// says.
template <int kStep, class T, class Store>
SPARSECORE_INLINE void load_plane_vector(const T* from, std::int64_t next_row,
                                         StepMask<T, kStep> mask, std::int64_t rows, T* to,
                                         std::int64_t width, Store store_row) {
#pragma GCC unroll 4
  for (std::int64_t y = 0; y < rows; ++y) {
    store_row(to + y * width, mask.load_from(from + y * next_row));
  }
}

// The rows of one plane that meet the image, a vector of columns at a time.
template <int kStep, class T>
SPARSECORE_INLINE void load_plane_by_vectors(const TapPlaneTile<T>& tile, const TapPlane& plane,
                                             const T* source, T* to) {
  const std::int64_t next_row = tile.vertical * tile.image->row_stride;
  const std::int64_t rows = plane.row_end - plane.row_begin, width = tile.width;
  const std::int64_t begin = plane.col_begin, end = plane.col_end;
  for (std::int64_t j = 0; j < width; j += kLanes<T>) {
    const StepMask<T, kStep> mask(lanes_between<T>(j, begin, end));
    if (width - j >= kLanes<T>) {
      load_plane_vector(source + j * kStep, next_row, mask, rows, to + j, width,
                        [](T* p, Vec<T> v) { store(p, v); });
    } else {
      const LaneMask<T> some(width - j);
      load_plane_vector(source + j * kStep, next_row, mask, rows, to + j, width,
                        [some](T* p, Vec<T> v) { store(p, v, some); });
    }
  }
}

// Any distance between columns.
template <class T>
SPARSECORE_INLINE void load_plane_singly(const TapPlaneTile<T>& tile, const TapPlane& plane,
                                         std::int64_t step, const T* source, T* to) {
  for (std::int64_t y = plane.row_begin; y < plane.row_end; ++y) {
    for (std::int64_t x = 0; x < tile.width; ++x) {
      to[x] = x >= plane.col_begin && x < plane.col_end ? source[x * step] : T(0);
    }
    source += tile.vertical * tile.image->row_stride;
    to += tile.width;
  }
}

template <class Acc>
void load_tap_planes(const TapPlaneTile<Acc>& tile) {
  const ImageView& image = *tile.image;
  const std::int64_t step = tile.horizontal * image.col_stride;
  Acc* to = tile.to;
  for (std::int64_t c = 0; c < image.channels; ++c) {
    const Acc* const channel = static_cast<const Acc*>(image.data) + c * image.channel_stride;
    for (std::int64_t p = 0; p < tile.count; ++p, to += tile.stride) {
      const TapPlane& plane = tile.planes[p];
      const std::int64_t first = plane.row_begin * tile.width, end = plane.row_end * tile.width;
      const Acc* const source = channel +
                                (plane.row + plane.row_begin * tile.vertical) * image.row_stride +
                                plane.shift * image.col_stride;
      fill_zeros(to, first);
      if (step == 1) {
        load_plane_by_vectors<1>(tile, plane, source, to + first);
      } else if (step == 2) {
        load_plane_by_vectors<2>(tile, plane, source, to + first);
      } else {
        load_plane_singly(tile, plane, step, source, to + first);
      }
      fill_zeros(to + end, tile.stride - end);
    }
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
