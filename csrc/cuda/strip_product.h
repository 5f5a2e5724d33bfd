// What products and packing of strips share, whichever way their places are told.
#pragma once

#include "launch.h"
#include "ptx.h"
#include "scalars.h"
#include "strips.h"
#include "warp_scan.h"
#include "write_out.h"

namespace sparsecore::cuda {

// ---- packing ----

// Values of 16 bits, in CSR's order and in that of strips; copied to one of them.
struct StripMove {
  std::uint16_t *csr, *strips;
  bool to_csr;

  __device__ __forceinline__ void operator()(std::int64_t p, std::int64_t slot) const {
    if (to_csr) {
      csr[p] = strips[slot];
    } else {
      strips[slot] = csr[p];
    }
  }
};

constexpr int kPackThreads = 256, kPackWarps = kPackThreads / kWarp;

__device__ __forceinline__ std::int64_t warp_of_grid() {
  return (std::int64_t{blockIdx.x} * blockDim.x + threadIdx.x) / kWarp;
}
inline Grid a_warp_each(std::int64_t items) {
  return {blocks_for(items, kPackWarps), 1, kPackThreads};
}

// An entry's block, its fragment there, and its place in that.
struct StripPlace {
  std::int64_t block;
  int fragment;
  FragmentPlace place;
};

// A warp a row: body(p, where) for its entries, of a matrix in blocks of kColumns.
template <int kColumns, class Body>
__device__ void for_entries(const CsrView& a, Body body) {
  const std::int64_t row = warp_of_grid(), blocks = (a.cols + kColumns - 1) / kColumns;
  if (row >= a.rows) return;
  for (std::int64_t p = a.offsets[row] + threadIdx.x % kWarp; p < a.offsets[row + 1]; p += kWarp) {
    const std::int64_t column = a.columns[p];
    const int in_block = static_cast<int>(column % kColumns);
    body(p, StripPlace{
                row / kStripRows * blocks + column / kColumns, in_block / kFragmentColumns,
                fragment_place(static_cast<int>(row % kStripRows), in_block % kFragmentColumns)});
  }
}

// ---- products ----

constexpr int kStripWarps = 8, kStripThreads = kStripWarps * kWarp;
constexpr int kMostStripColumns = 32;  // of X at a time
using Chunk = Vector<std::uint32_t, 4>;

// X, and X as fragments: [cols / 16, rounded up to whole blocks][n / 8][lane] pairs of words; and
// whether one of its items is not finite.
struct StripOperands {
  MatrixView x, out;
  Epilogue epilogue;
  const std::uint32_t* words;
  const std::uint32_t* is_special;

  int tiles() const { return x.cols <= 8 ? 1 : x.cols <= 16 ? 2 : 4; }
};

// Calls body with a zero of X's type and the number of tiles of eight columns as a constant.
template <class Body>
void with_type_and_tiles(const StripOperands& operands, Body&& body) {
  const auto with_tiles = [&](auto zero) {
    switch (operands.tiles()) {
      case 1:
        return body(zero, std::integral_constant<int, 1>{});
      case 2:
        return body(zero, std::integral_constant<int, 2>{});
      default:
        return body(zero, std::integral_constant<int, 4>{});
    }
  };
  if (operands.x.dtype == DType::kFloat16) return with_tiles(Half{});
  return with_tiles(BFloat16{});
}

// d += the items of a fragment that this lane holds, times X.
template <class T, int kTiles>
__device__ __forceinline__ void multiply_fragment(float (&d)[kTiles][4],
                                                  const std::uint32_t (&items)[4],
                                                  const std::uint32_t* words, int lane) {
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const auto pair =
        *reinterpret_cast<const Vector<std::uint32_t, 2>*>(words + (tile * kWarp + lane) * 2);
    const std::uint32_t b[2] = {pair.items[0], pair.items[1]};
    mma_m16n8k16<T>(d[tile], items, b);
  }
}

// The items of X that stored items of one row meet, one by one: for an X that holds what is not
// finite.
template <class T>
struct ColumnOfX {
  const T* items;
  std::int64_t stride;

  __device__ __forceinline__ ColumnOfX(const MatrixView& x, std::int64_t column)
      : items(static_cast<const T*>(x.data) + column * x.col_stride), stride(x.row_stride) {}
  __device__ __forceinline__ float times(T stored, std::int64_t k) const {
    return widened<float>(stored) * widened<float>(items[k * stride]);
  }
};

template <int kTiles>
struct StripSums {
  float of_warps[kStripWarps][kTiles][4][kWarp];
};

// Adds up the sums of the block's warps in their order and stores the strip's part of the result.
// item_by_item(row of the strip, column) is called for what tensor cores were not asked for.
template <class T, int kTiles, class ItemByItem>
__device__ __forceinline__ void write_strip(const float (&d)[kTiles][4], StripSums<kTiles>& sums,
                                            std::int64_t rows, const StripOperands& operands,
                                            bool is_special, ItemByItem item_by_item) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums.of_warps[warp][tile][i][lane] = d[tile][i];
  }
  __syncthreads();
  const MatrixView& out = operands.out;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kTiles * 8 * kStripRows; i += kStripThreads) {
    const int column = i % (kTiles * 8), row = i / (kTiles * 8);
    const std::int64_t r = std::int64_t{blockIdx.x} * kStripRows + row;
    if (r >= rows || column >= out.cols) continue;
    const int source = row % 8 * 4 + column % 8 / 2, item = row / 8 * 2 + column % 2;
    float sum = is_special ? item_by_item(row, ColumnOfX<T>(operands.x, column)) : 0;
#pragma unroll
    for (int w = 0; w < kStripWarps; ++w) sum += sums.of_warps[w][column / 8][item][source];
    store(static_cast<T*>(out.data) + r * out.row_stride + column * out.col_stride,
          RowEnd<float, T>(operands.epilogue, r).finished(sum, column));
  }
}

}  // namespace sparsecore::cuda
