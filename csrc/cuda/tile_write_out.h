// A block's tile of sums from shared memory through the epilogue to the result, four neighbours in
// memory a lane, so that a warp writes whole sectors in either memory order. The loops are rolled:
// an epilogue is some hundred instructions.
#pragma once

#include "write_out.h"

namespace sparsecore::cuda {

struct TilePlace {
  std::int64_t row, column;  // of the result, where the tile begins
};

// The first `count` of four to `to`, to + stride, ...: as one where they are neighbours and whole.
template <class T>
__device__ __forceinline__ void store_quad(const float (&quad)[4], int count, T* to,
                                           std::int64_t stride) {
  Vector<T, 4> items;
#pragma unroll
  for (int i = 0; i < 4; ++i) store(&items.items[i], quad[i]);
  if (count == 4 && stride == 1 && reinterpret_cast<std::uintptr_t>(to) % sizeof(items) == 0) {
    *reinterpret_cast<Vector<T, 4>*>(to) = items;
    return;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i < count) to[i * stride] = items.items[i];
  }
}

__device__ __forceinline__ int up_to_four(std::int64_t left) {
  return left < 4 ? static_cast<int>(left) : 4;
}

// Of sums[row * kStride + column]: a warp takes a row, lanes its columns.
template <class T, int kRows, int kColumns, int kStride, int kThreads>
__device__ __forceinline__ void write_tile_by_rows(const float* sums, TilePlace at,
                                                   const MatrixView& out,
                                                   const Epilogue& epilogue) {
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32;
#pragma unroll 1
  for (int r = thread / 32; r < kRows && at.row + r < out.rows; r += kThreads / 32) {
    const RowEnd<float, T> end(epilogue, at.row + r);
    T* const row = static_cast<T*>(out.data) + (at.row + r) * out.row_stride;
#pragma unroll 1
    for (int c = 4 * lane; c < kColumns && at.column + c < out.cols; c += 4 * 32) {
      const int count = up_to_four(out.cols - at.column - c);
      auto quad = *reinterpret_cast<const Vector<float, 4>*>(sums + r * kStride + c);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (i < count) quad.items[i] = end.finished(quad.items[i], at.column + c + i);
      }
      store_quad(quad.items, count, row + (at.column + c) * out.col_stride, out.col_stride);
    }
  }
}

// Of sums[column * kStride + row]: a thread keeps to four rows.
template <class T, int kRows, int kColumns, int kStride, int kThreads>
__device__ __forceinline__ void write_tile_by_columns(const float* sums, TilePlace at,
                                                      const MatrixView& out,
                                                      const Epilogue& epilogue) {
  const int thread = static_cast<int>(threadIdx.x), r = thread % (kRows / 4) * 4;
  const std::int64_t row = at.row + r;
  if (row >= out.rows) return;
  const int count = up_to_four(out.rows - row);
  const std::int64_t last = out.rows - 1;
  const RowEnd<float, T> ends[4] = {
      {epilogue, row},
      {epilogue, row + 1 < last ? row + 1 : last},
      {epilogue, row + 2 < last ? row + 2 : last},
      {epilogue, row + 3 < last ? row + 3 : last},
  };
  constexpr int kStep = kThreads / (kRows / 4);
#pragma unroll 1
  for (int c = thread / (kRows / 4); c < kColumns && at.column + c < out.cols; c += kStep) {
    auto quad = *reinterpret_cast<const Vector<float, 4>*>(sums + c * kStride + r);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if (i < count) quad.items[i] = ends[i].finished(quad.items[i], at.column + c);
    }
    T* const to = static_cast<T*>(out.data) + row * out.row_stride;
    store_quad(quad.items, count, to + (at.column + c) * out.col_stride, out.row_stride);
  }
}

}  // namespace sparsecore::cuda
