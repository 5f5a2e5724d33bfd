// Y = S X on tensor cores, best for few columns of X: from the canonical layout as it is.
//
// A block takes 16 rows of S and up to 32 columns of X; its warps take steps of 64 columns of S in
// turn, and their sums are added up in their order. In a step, one load of 16 bytes a lane of row g
// and one of row g + 8 fill the registers of two products (ptx.h): lane t of a row has groups 4 t
// ... 4 t + 3, of which the first product takes 4 t as its group t and 4 t + 1 as its group t + 4,
// the second the other two. Which columns a product calls which is free, as long as X and the
// metadata follow: canonical group 4 q + 2 p + i is group q + 4 i of product p. So the nibbles of
// a lane are every fourth of the row's 64 bits, and both products read them from one word.
//
// The hardware multiplies what the metadata select, so that NaN at other rows of X reach nothing.
// X is read by columns, as layers have it; another one is copied first (tile_copy.h).
// Bytes: S once for every 32 columns, 2.25 a stored item; flops: 4 of 64 x 32 a step and tile, of
// which half are useful.
#include "piece_lanes.h"
#include "ptx.h"
#include "scalars.h"
#include "tile_copy.h"
#include "tiles24.h"
#include "write_out.h"

namespace sparsecore::cuda {
namespace {

constexpr int kWarps = 4, kStripRows = 16, kStep = 64, kTileColumns = 8;
using Words = Vector<std::uint32_t, 4>;

// Nibbles 4 q + 2 product + half of a row's sixteen, q = 0 ... 3, side by side.
__device__ __forceinline__ std::uint32_t nibbles_of(std::uint64_t row, int product, int half) {
  const auto spread = row >> (8 * product + 4 * half);
  const auto low = static_cast<std::uint32_t>(spread),
             high = static_cast<std::uint32_t>(spread >> 32);
  return (low & 0xfu) | (low >> 12 & 0xf0u) | (high & 0xfu) << 8 | (high >> 4 & 0xf000u);
}

// A row of S as a lane reads it.
struct Row {
  const Words* values;
  const std::uint64_t* metadata;
};
__device__ __forceinline__ Row row_of(const Sparse24View& a, std::int64_t row) {
  const std::int64_t r = row < a.rows ? row : a.rows - 1;  // whose sums are not written
  const auto* const values = static_cast<const std::uint16_t*>(a.values) + r * (a.cols / 2);
  return {reinterpret_cast<const Words*>(values),
          reinterpret_cast<const std::uint64_t*>(a.metadata + r * (a.cols / 8))};
}

// `x` has a row for each right-hand column.
template <class T, int kTiles>
__global__ void __launch_bounds__(kWarps* kWarp)
    strips24(Sparse24View a, MatrixView x, MatrixView out, Epilogue epilogue) {
  __shared__ float shared[kWarps][kTiles][4][kWarp];
  const int lane = lane_of<kWarp>(), warp = static_cast<int>(threadIdx.x) / kWarp;
  const int g = lane / 4, t = lane % 4;
  const std::int64_t row0 = std::int64_t{blockIdx.x} * kStripRows;
  const std::int64_t column0 = block_down() * kTileColumns * kTiles;
  const Row upper = row_of(a, row0 + g), lower = row_of(a, row0 + g + 8);
  const std::uint32_t* columns[kTiles];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const std::int64_t n = column0 + tile * kTileColumns + g;
    const T* const from = static_cast<const T*>(x.data) + (n < x.rows ? n : 0) * x.row_stride;
    columns[tile] = reinterpret_cast<const std::uint32_t*>(from) + t / 2 * 8 + t % 2;
  }
  float d[kTiles][4] = {};
  for (std::int64_t step = warp; step < a.cols / kStep; step += kWarps) {
    const Words u = upper.values[4 * step + t], l = lower.values[4 * step + t];
    const std::uint32_t places = nibbles_of(upper.metadata[step], t / 2, t % 2) |
                                 nibbles_of(lower.metadata[step], t / 2, t % 2) << 16;
    const std::uint32_t first[4] = {u.items[0], l.items[0], u.items[1], l.items[1]};
    const std::uint32_t second[4] = {u.items[2], l.items[2], u.items[3], l.items[3]};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const std::uint32_t* const b = columns[tile] + step * (kStep / 2);
      const std::uint32_t of_first[4] = {b[0], b[16], b[2], b[18]};
      const std::uint32_t of_second[4] = {b[4], b[20], b[6], b[22]};
      mma_sp_m16n8k32<T, 0>(d[tile], first, of_first, places);
      mma_sp_m16n8k32<T, 1>(d[tile], second, of_second, places);
    }
  }
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
    for (int i = 0; i < 4; ++i) shared[warp][tile][i][lane] = d[tile][i];
  }
  __syncthreads();
  for (int part = warp; part < 4 * kTiles; part += kWarps) {
    const int tile = part / 4, i = part % 4;
    const std::int64_t row = row0 + g + i / 2 * 8;
    const std::int64_t column = column0 + tile * kTileColumns + t * 2 + i % 2;
    if (row >= out.rows || column >= out.cols) continue;
    float sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += shared[w][tile][i][lane];
    store(static_cast<T*>(out.data) + row * out.row_stride + column * out.col_stride,
          RowEnd<float, T>(epilogue, row).finished(sum, column));
  }
}

bool is_multiple(const void* data, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}

// X by its columns: each in words of two items.
MatrixView by_columns(const MatrixView& x, Memory& memory, Stream stream) {
  const MatrixView turned{x.data, x.dtype, x.cols, x.rows, x.col_stride, x.row_stride};
  const bool is_as_it_is =
      turned.col_stride == 1 && turned.row_stride % 2 == 0 && is_multiple(x.data, 4);
  return is_as_it_is ? turned : row_major_copy(turned, memory, stream);
}

template <class T>
void product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
             const MatrixView& out, Stream stream) {
  const auto start = [&](auto kernel, int tiles) {
    const Grid grid{blocks_for(a.rows, kStripRows), blocks_for(out.cols, kTileColumns * tiles),
                    kWarps * kWarp};
    launch("sparse24_matmul", kernel, grid, stream, a, x, out, epilogue);
  };
  if (out.cols <= kTileColumns) {
    start(strips24<T, 1>, 1);
  } else if (out.cols <= 2 * kTileColumns) {
    start(strips24<T, 2>, 2);
  } else {
    start(strips24<T, 4>, 4);
  }
}

}  // namespace

bool has_tiles24(const Sparse24View& a, const MatrixView& x) {
  const bool are_short =
      a.dtype == x.dtype && (a.dtype == DType::kFloat16 || a.dtype == DType::kBFloat16);
  return are_short && a.cols > 0 && a.cols % kStep == 0 && is_multiple(a.values, 16) &&
         is_multiple(a.metadata, 8);
}

void tiles24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                     const MatrixView& out, Memory& memory, Stream stream) {
  const MatrixView columns = by_columns(x, memory, stream);
  if (a.dtype == DType::kFloat16) {
    product<Half>(a, columns, epilogue, out, stream);
  } else {
    product<BFloat16>(a, columns, epilogue, out, stream);
  }
}

}  // namespace sparsecore::cuda
