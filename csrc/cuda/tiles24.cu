// Y = S X on tensor cores, best for few columns of X: from the canonical layout as it is.
//
// A block takes 16 rows of S and up to 32 columns of X; its warps take steps of 64 columns of S in
// turn (128 of 8 bits), and their sums are added up in their order. In a step, one load of 16 bytes
// a lane of row g and one of row g + 8 fill the registers of two products (tiles24_layout.h has
// which columns they are).
//
// int8 meets int8 in the hardware's own products, whose sums are int32. Values of 8 bits that meet
// an X of 16 are widened in registers, exactly (widen8.h): half of the bytes, for as many products.
// (8-bit floats have products of their own, too, but on few devices, and with sums of fewer bits
// than fp32's.)
//
// The hardware multiplies what the metadata select, so that NaN at other rows of X reach nothing.
// X is read by columns, as layers have it; another one is copied first (tile_copy.h).
// Bytes: S once for every 32 columns, b + 1 / 4 a stored item; flops: 4 of 64 x 32 a step and tile,
// of which half are useful.
#include "launch.h"
#include "piece_lanes.h"
#include "tile_copy.h"
#include "tiles24.h"
#include "tiles24_lanes.h"
#include "write_out.h"

namespace sparsecore::cuda {
namespace {

constexpr int kWarps = 4, kStripRows = 16, kTileColumns = 8;

// `x` has a row for each right-hand column.
template <class V, class T, int kTiles>
__global__ void __launch_bounds__(kWarps* kWarp)
    strips24(Sparse24View a, MatrixView x, MatrixView out, Epilogue epilogue) {
  using Acc = AccOf<T>;
  using Out = OutOf<T>;
  __shared__ Acc shared[kWarps][kTiles][4][kWarp];
  const int lane = lane_of<kWarp>(), warp = static_cast<int>(threadIdx.x) / kWarp;
  const int g = lane / 4, t = lane % 4;
  const std::int64_t row0 = std::int64_t{blockIdx.x} * kStripRows;
  const std::int64_t column0 = block_down() * kTileColumns * kTiles;
  const TileRows<V, T> rows(a, row0 + g, t);
  const std::uint32_t* columns[kTiles];
#pragma unroll
  for (int tile = 0; tile < kTiles; ++tile) {
    const std::int64_t n = column0 + tile * kTileColumns + g;
    const T* const from = static_cast<const T*>(x.data) + (n < x.rows ? n : 0) * x.row_stride;
    columns[tile] = reinterpret_cast<const std::uint32_t*>(from) + t / 2 * 8 + t % 2;
  }
  Acc d[kTiles][4] = {};
  const auto take = [&](std::int64_t step, const TileStep<V, T>& loaded) {
    const Words u = loaded.words(loaded.upper), l = loaded.words(loaded.lower);
    std::uint32_t places[2];
    loaded.places(t, places);
    const std::uint32_t first[4] = {u.items[0], l.items[0], u.items[1], l.items[1]};
    const std::uint32_t second[4] = {u.items[2], l.items[2], u.items[3], l.items[3]};
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
      const std::uint32_t* const b = columns[tile] + step * kStepWords;
      const std::uint32_t of_first[4] = {b[0], b[16], b[2], b[18]};
      const std::uint32_t of_second[4] = {b[4], b[20], b[6], b[22]};
      multiply<T, 0>(d[tile], first, of_first, places[0]);
      multiply<T, 1>(d[tile], second, of_second, places[1]);
    }
  };
  const std::int64_t steps = a.cols / kStepColumns<T>;
  if constexpr (sizeof(V) == sizeof(T)) {
    for (std::int64_t step = warp; step < steps; step += kWarps) take(step, rows.step(step));
  } else {
    // A step is half of the bytes, and more steps have to be on their way: the loads of one go out
    // kAhead steps before its products.
    constexpr int kAhead = kTiles == 1 ? 3 : 1, kStride = kAhead * kWarps;
    TileStep<V, T> ahead[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; ++i) {
      const std::int64_t step = warp + i * kWarps;
      if (step < steps) ahead[i] = rows.step(step);
    }
    for (std::int64_t first = warp; first < steps; first += kStride) {
#pragma unroll
      for (int i = 0; i < kAhead; ++i) {
        const std::int64_t step = first + i * kWarps;
        if (step >= steps) break;
        const TileStep<V, T> now = ahead[i];
        if (step + kStride < steps) ahead[i] = rows.step(step + kStride);
        take(step, now);
      }
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
    Acc sum = 0;
#pragma unroll
    for (int w = 0; w < kWarps; ++w) sum += shared[w][tile][i][lane];
    store(static_cast<Out*>(out.data) + row * out.row_stride + column * out.col_stride,
          RowEnd<Acc, Out>(epilogue, row).finished(sum, column));
  }
}

bool is_multiple(const void* data, std::uintptr_t bytes) {
  return reinterpret_cast<std::uintptr_t>(data) % bytes == 0;
}

// X by its columns: each in words of 4 bytes.
MatrixView by_columns(const MatrixView& x, Memory& memory, Stream stream) {
  const MatrixView turned{x.data, x.dtype, x.cols, x.rows, x.col_stride, x.row_stride};
  const bool is_as_it_is = turned.col_stride == 1 &&
                           turned.row_stride * item_size(x.dtype) % 4 == 0 &&
                           is_multiple(x.data, 4);
  return is_as_it_is ? turned : row_major_copy(turned, memory, stream);
}

template <class V, class T>
void product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
             const MatrixView& out, Stream stream) {
  const auto start = [&](auto kernel, int tiles) {
    const Grid grid{blocks_for(a.rows, kStripRows), blocks_for(out.cols, kTileColumns * tiles),
                    kWarps * kWarp};
    launch("sparse24_matmul", kernel, grid, stream, a, x, out, epilogue);
  };
  if (out.cols <= kTileColumns) return start(strips24<V, T, 1>, 1);
  if constexpr (sizeof(V) == sizeof(T)) {  // others are compiled for fewer cases
    if (out.cols <= 2 * kTileColumns) return start(strips24<V, T, 2>, 2);
  }
  start(strips24<V, T, 4>, 4);
}

template <class T>
void widened_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                     const MatrixView& out, Stream stream) {
  switch (a.dtype) {
    case DType::kInt8:
      return product<std::int8_t, T>(a, x, epilogue, out, stream);
    case DType::kFloat8E4M3:
      return product<Float8E4M3, T>(a, x, epilogue, out, stream);
    case DType::kFloat8E5M2:
      return product<Float8E5M2, T>(a, x, epilogue, out, stream);
    default:
      return product<T, T>(a, x, epilogue, out, stream);
  }
}

}  // namespace

const char* tiles24_name(const Sparse24View& a, const MatrixView& x) {
  const bool is_short = x.dtype == DType::kFloat16 || x.dtype == DType::kBFloat16;
  const bool is_int8 = x.dtype == DType::kInt8 && a.dtype == DType::kInt8;
  const std::int64_t size = item_size(a.dtype), step = 4 * kStepWords / item_size(x.dtype);
  const auto alignment = static_cast<std::uintptr_t>(16 * size / item_size(x.dtype));
  if (!(is_int8 || (is_short && (a.dtype == x.dtype || size == 1))) || a.cols == 0 ||
      a.cols % step != 0 || !is_multiple(a.values, alignment) ||
      !is_multiple(a.metadata, is_int8 ? 16 : 8)) {
    return nullptr;
  }
  return is_int8 ? "mma.sp int8" : (size == 1 ? "mma.sp widened" : "mma.sp");
}

void tiles24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                     const MatrixView& out, Memory& memory, Stream stream) {
  const MatrixView columns = by_columns(x, memory, stream);
  switch (x.dtype) {
    case DType::kInt8:
      return product<std::int8_t, std::int8_t>(a, columns, epilogue, out, stream);
    case DType::kFloat16:
      return widened_product<Half>(a, columns, epilogue, out, stream);
    default:
      return widened_product<BFloat16>(a, columns, epilogue, out, stream);
  }
}

}  // namespace sparsecore::cuda
