// Y = A X by rows of A. A warp, or a part of one, takes a piece of a row (pieces.h).
//
// Wide (n > 8): lanes hold neighbouring columns of X. Entries are fetched a lane each, then handed
// round, so that A is read once, coalesced, and each entry costs one load of X for every 16 bytes:
// 2 flops for every item of X that the L1 delivers, which bounds it (128 bytes a clock).
// Narrow (n <= 8): lanes hold entries, each its own sums of all columns, added up at the end of the
// piece: A is streamed, and its bytes over the memory's bandwidth are the floor.
//
// X that is not row-major is copied first, and a result that is not, or a row of several pieces, is
// written as sums to scratch and finished by a second kernel: 8 to 12 bytes an item of X and Y
// more, beside nnz / m loads of X for each item of Y.
//
// A Matrix says where a row's entries are: view (rows, values, dtype, nnz()), piece(pieces, i),
// column(piece, entry), kName, what errors call the product, and kMayBeShort, whether rows of few
// entries are worth kernels of their own.
#pragma once

#include "../epilogue.h"
#include "scalars.h"
#include "segments.h"
#include "tile_copy.h"
#include "write_out.h"

namespace sparsecore::cuda {

// Where a piece's sums go: finished to the result, or to row i of `partial`, n items a row.
struct Target {
  MatrixView out;
  Epilogue epilogue;
  void* partial;  // null: none is needed
};

// One segment of kLanes lanes a piece, kVector columns a lane; tiles of columns along the grid's y.
template <class X, class Matrix, int kLanes, int kVector>
__global__ void __launch_bounds__(kPieceThreads)
    wide_rows(Matrix a, Pieces pieces, MatrixView x, Target target) {
  using Acc = AccOf<X>;
  using Xs = Vector<X, kVector>;
  const unsigned segment = lanes_of_segment<kLanes>();
  const int lane = lane_of<kLanes>();
  const std::int64_t i = piece_of_lanes<kLanes>();
  if (i >= pieces.count) return;
  const Piece piece = a.piece(pieces, i);
  const std::int64_t column = (block_down() * kLanes + lane) * kVector;
  const bool is_inside = column < x.cols;
  const X* const mine = static_cast<const X*>(x.data) + (is_inside ? column : 0);
  Acc sums[kVector] = {};
  for (std::int64_t p = piece.begin; p < piece.end; p += kLanes) {
    std::int64_t from = 0;
    Acc value{};
    if (p + lane < piece.end) {
      from = a.column(piece, p + lane) * x.row_stride;
      value = load_as<Acc>(a.view.values, a.view.dtype, p + lane);
    }
    const int count = piece.end - p < kLanes ? static_cast<int>(piece.end - p) : kLanes;
#pragma unroll 4
    for (int e = 0; e < count; ++e) {
      const std::int64_t row = __shfl_sync(segment, from, e, kLanes);
      const Acc factor = __shfl_sync(segment, value, e, kLanes);
      const Xs xs = *reinterpret_cast<const Xs*>(mine + row);
#pragma unroll
      for (int v = 0; v < kVector; ++v) sums[v] += factor * widened<Acc>(xs.items[v]);
    }
  }
  if (!is_inside) return;
  if (target.partial != nullptr) {
    Acc* const to = static_cast<Acc*>(target.partial) + i * x.cols + column;
#pragma unroll
    for (int v = 0; v < kVector; ++v) to[v] = sums[v];
    return;
  }
  RowEnd<Acc, OutOf<X>>(target.epilogue, piece.row).finish(sums, column);
  Vector<OutOf<X>, kVector> finished_sums;
#pragma unroll
  for (int v = 0; v < kVector; ++v) store(&finished_sums.items[v], sums[v]);
  auto* const to =
      static_cast<OutOf<X>*>(target.out.data) + piece.row * target.out.row_stride + column;
  *reinterpret_cast<Vector<OutOf<X>, kVector>*>(to) = finished_sums;
}

// Up to kColumns columns, of any strides; one segment of kLanes lanes a piece.
template <class X, class Matrix, int kLanes, int kColumns>
__global__ void __launch_bounds__(kPieceThreads)
    narrow_rows(Matrix a, Pieces pieces, MatrixView x, Target target) {
  using Acc = AccOf<X>;
  const unsigned segment = lanes_of_segment<kLanes>();
  const int lane = lane_of<kLanes>();
  const std::int64_t i = piece_of_lanes<kLanes>();
  if (i >= pieces.count) return;
  const Piece piece = a.piece(pieces, i);
  const X* const data = static_cast<const X*>(x.data);
  Acc sums[kColumns] = {};
#pragma unroll 2
  for (std::int64_t p = piece.begin + lane; p < piece.end; p += kLanes) {
    const Acc value = load_as<Acc>(a.view.values, a.view.dtype, p);
    const X* const row = data + a.column(piece, p) * x.row_stride;
#pragma unroll
    for (int j = 0; j < kColumns; ++j) {
      if (j < x.cols) sums[j] += value * widened<Acc>(row[j * x.col_stride]);
    }
  }
#pragma unroll
  for (int j = 0; j < kColumns; ++j) {
#pragma unroll
    for (int half = kLanes / 2; half > 0; half /= 2) {
      sums[j] += __shfl_xor_sync(segment, sums[j], half, kLanes);
    }
  }
  // Every lane has every sum; a lane finishes the column of its number.
  static_assert(kColumns <= kLanes);
  Acc mine = sums[0];
#pragma unroll
  for (int j = 1; j < kColumns; ++j) mine = lane == j ? sums[j] : mine;
  if (lane >= x.cols) return;
  if (target.partial != nullptr) {
    static_cast<Acc*>(target.partial)[i * x.cols + lane] = mine;
    return;
  }
  const RowEnd<Acc, OutOf<X>> end(target.epilogue, piece.row);
  store(static_cast<OutOf<X>*>(target.out.data) + piece.row * target.out.row_stride +
            lane * target.out.col_stride,
        end.finished(mine, lane));
}

// Adds up the pieces of each row, in their order, and finishes them. Tiles of 32 x 32 results pass
// through shared memory where the result is column-major.
template <class X>
__global__ void __launch_bounds__(kTile* kTileRows)
    finish(Pieces pieces, std::int64_t rows, std::int64_t columns, Target target) {
  using Acc = AccOf<X>;
  __shared__ OutOf<X> tile[kTile][kTile + 1];
  const bool by_columns = target.out.row_stride < target.out.col_stride;
  const std::int64_t row0 = std::int64_t{blockIdx.x} * kTile, column0 = block_down() * kTile;
  const int across = static_cast<int>(threadIdx.x) % kTile,
            down = static_cast<int>(threadIdx.x) / kTile;
  auto* const out = static_cast<OutOf<X>*>(target.out.data);
  for (int r = down; r < kTile; r += kTileRows) {
    const std::int64_t row = row0 + r, column = column0 + across;
    if (row >= rows || column >= columns) continue;
    std::int64_t piece = pieces.first == nullptr ? row : pieces.first[row];
    const std::int64_t end = pieces.first == nullptr ? row + 1 : pieces.first[row + 1];
    const Acc* const sums = static_cast<const Acc*>(target.partial) + column;
    Acc sum = sums[piece * columns];
    while (++piece < end) sum += sums[piece * columns];
    sum = RowEnd<Acc, OutOf<X>>(target.epilogue, row).finished(sum, column);
    if (by_columns) {
      store(&tile[r][across], sum);
    } else {
      store(out + row * target.out.row_stride + column * target.out.col_stride, sum);
    }
  }
  if (!by_columns) return;
  __syncthreads();
  for (int c = down; c < kTile; c += kTileRows) {
    const std::int64_t row = row0 + across, column = column0 + c;
    if (row >= rows || column >= columns) continue;
    out[row * target.out.row_stride + column * target.out.col_stride] = tile[across][c];
  }
}

template <class X, int kLanes, int kVector, class Matrix>
void launch_wide(const Matrix& a, const Pieces& pieces, const MatrixView& x, const Target& target,
                 Stream stream) {
  Grid grid = grid_of<kLanes>(pieces);
  grid.blocks_y = blocks_for(x.cols, kLanes * kVector);
  launch(Matrix::kName, wide_rows<X, Matrix, kLanes, kVector>, grid, stream, a, pieces, x, target);
}

template <class X, int kVector, class Matrix>
void wide(const Matrix& a, const Pieces& pieces, const MatrixView& x, const Target& target,
          Stream stream) {
  if constexpr (Matrix::kMayBeShort) {
    if (x.cols <= 8 * kVector) return launch_wide<X, 8, kVector>(a, pieces, x, target, stream);
    if (x.cols <= 16 * kVector) return launch_wide<X, 16, kVector>(a, pieces, x, target, stream);
  }
  launch_wide<X, kWarp, kVector>(a, pieces, x, target, stream);
}

template <class X, int kColumns, class Matrix>
void narrow(const Matrix& a, const Pieces& pieces, const MatrixView& x, const Target& target,
            Stream stream) {
  const auto start = [&](auto kernel, const Grid& grid) {
    launch(Matrix::kName, kernel, grid, stream, a, pieces, x, target);
  };
  if constexpr (Matrix::kMayBeShort) {
    // A column a lane, at last.
    constexpr int kVeryFew = kColumns > kTwoLanes ? kColumns : kTwoLanes;
    if (kVeryFew < kFewLanes && are_very_short(pieces, a.view.nnz())) {
      return start(narrow_rows<X, Matrix, kVeryFew, kColumns>, grid_of<kVeryFew>(pieces));
    }
    if (are_short(pieces, a.view.nnz())) {
      return start(narrow_rows<X, Matrix, kFewLanes, kColumns>, grid_of<kFewLanes>(pieces));
    }
  }
  start(narrow_rows<X, Matrix, kWarp, kColumns>, grid_of<kWarp>(pieces));
}

template <class X, class Matrix>
void row_product(const Matrix& a, const Pieces& pieces, MatrixView x, const Epilogue& epilogue,
                 const MatrixView& out, Memory& memory, Stream stream) {
  constexpr int kVector = 16 / sizeof(X);
  constexpr std::int64_t kNarrow = 8;
  Target target{out, epilogue, nullptr};
  const bool is_narrow = x.cols <= kNarrow;
  if (!is_narrow && x.col_stride != 1) x = row_major_copy(x, memory, stream);
  if (pieces.first != nullptr || (!is_narrow && out.col_stride != 1)) {
    target.partial = memory.take_items<AccOf<X>>(pieces.count * x.cols);
  }
  if (is_narrow) {
    if (x.cols == 1) {
      narrow<X, 1>(a, pieces, x, target, stream);
    } else if (x.cols <= 4) {
      narrow<X, 4>(a, pieces, x, target, stream);
    } else {
      narrow<X, 8>(a, pieces, x, target, stream);
    }
  } else if (is_aligned(x, kVector) &&
             (target.partial != nullptr ||
              is_aligned(out, kVector * item_size(x.dtype) / item_size(out.dtype)))) {
    wide<X, kVector>(a, pieces, x, target, stream);
  } else {
    wide<X, 1>(a, pieces, x, target, stream);
  }
  if (target.partial == nullptr) return;
  const Grid grid{blocks_for(a.view.rows, kTile), blocks_for(x.cols, kTile), kTile * kTileRows};
  launch(Matrix::kName, finish<X>, grid, stream, pieces, a.view.rows, x.cols, target);
}

}  // namespace sparsecore::cuda
