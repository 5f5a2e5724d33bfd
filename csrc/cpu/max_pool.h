// The largest of each window of an image's plane: of the window's rows first, then of its columns.
//
// Why: what lies between a network's convolutions decides how fast it is once they are sparse, and
// a window's nine comparisons, one element at a time, took as long as twenty sparse layers.
// Bytes: the plane is read once a window's row, of which all but one come from the first-level
// cache, and the result written. Bound by loads.
// Preconditions: every window meets the plane.
#pragma once

#include "simd.h"
#include "step_mask.h"

namespace sparsecore::SPARSECORE_TARGET {

// As torch has it: a NaN stays.
template <class T>
SPARSECORE_INLINE Vec<T> larger(Vec<T> a, Vec<T> b) {
  return (b > a) | (b != b) ? b : a;
}
template <class T>
SPARSECORE_INLINE T larger_of(T a, T b) {
  return b > a || b != b ? b : a;
}

// row[j] = the largest of rows [begin, end) in column j.
template <class T>
SPARSECORE_INLINE void pool_rows(const PoolTile<T>& tile, std::int64_t begin, std::int64_t end,
                                 T* row) {
  const T* const first = tile.from + begin * tile.row_stride;
  const auto column = [&](std::int64_t j, auto load_at, auto store_at) {
    Vec<T> most = load_at(first + j);
    for (std::int64_t y = 1; y < end - begin; ++y) {
      most = larger<T>(most, load_at(first + y * tile.row_stride + j));
    }
    store_at(row + j, most);
  };
  std::int64_t j = 0;
  for (; j + kLanes<T> <= tile.width; j += kLanes<T>) {
    column(j, [](const T* p) { return load(p); }, [](T* p, Vec<T> v) { store(p, v); });
  }
  if (j == tile.width) return;
  const LaneMask<T> some(tile.width - j);
  column(j, [&](const T* p) { return load(p, some); }, [&](T* p, Vec<T> v) { store(p, v, some); });
}

// to[j] = the largest of row[j * kStep ...], `kernel` of them.
template <int kStep, class T>
SPARSECORE_INLINE void pool_columns(const T* row, std::int64_t kernel, std::int64_t width, T* to) {
  const StepMask<T, kStep> all(kLanesSet<T>);
  const auto largest = [&](std::int64_t j) {
    Vec<T> most = all.load_from(row + j * kStep);
    for (std::int64_t x = 1; x < kernel; ++x) {
      most = larger<T>(most, all.load_from(row + j * kStep + x));
    }
    return most;
  };
  std::int64_t j = 0;
  for (; j + kLanes<T> <= width; j += kLanes<T>) store(to + j, largest(j));
  if (j < width) store(to + j, largest(j), LaneMask<T>(width - j));
}

template <class T>
void max_pool(const PoolTile<T>& tile) {
  const std::int64_t rows_most = tile.height;
  for (std::int64_t y = 0; y < tile.out_height; ++y) {
    const std::int64_t first = y * tile.stride[0] - tile.padding[0];
    const std::int64_t begin = first < 0 ? 0 : first;
    const std::int64_t until = first + tile.kernel[0];
    pool_rows(tile, begin, until < rows_most ? until : rows_most, tile.row + tile.padding[1]);
    T* const to = tile.to + y * tile.out_width;
    if (tile.stride[1] == 1) {
      pool_columns<1>(tile.row, tile.kernel[1], tile.out_width, to);
    } else if (tile.stride[1] == 2) {
      pool_columns<2>(tile.row, tile.kernel[1], tile.out_width, to);
    } else {
      for (std::int64_t x = 0; x < tile.out_width; ++x) {
        const T* const window = tile.row + x * tile.stride[1];
        T most = window[0];
        for (std::int64_t i = 1; i < tile.kernel[1]; ++i) most = larger_of(most, window[i]);
        to[x] = most;
      }
    }
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
