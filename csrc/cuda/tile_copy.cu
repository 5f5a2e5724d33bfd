#include "launch.h"
#include "tile_copy.h"

namespace sparsecore::cuda {
namespace {

// So many on a multiprocessor: where the compiler tries for more, some of them spill registers.
constexpr int kBlocks = 6;

template <class T>
__global__ void __launch_bounds__(kTile* kTileRows, kBlocks)
    copy_tiles(MatrixView from, MatrixView to) {
  __shared__ T tile[kTile][kTile + 1];
  const bool by_columns = from.row_stride < from.col_stride;
  const std::int64_t row0 = std::int64_t{blockIdx.x} * kTile, column0 = block_down() * kTile;
  const int across = static_cast<int>(threadIdx.x) % kTile,
            down = static_cast<int>(threadIdx.x) / kTile;
  for (int line = down; line < kTile; line += kTileRows) {
    const int r = by_columns ? across : line, c = by_columns ? line : across;
    if (row0 + r >= from.rows || column0 + c >= from.cols) continue;
    tile[r][c] = static_cast<const T*>(
        from.data)[(row0 + r) * from.row_stride + (column0 + c) * from.col_stride];
  }
  __syncthreads();
  for (int r = down; r < kTile; r += kTileRows) {
    if (row0 + r >= from.rows || column0 + across >= from.cols) continue;
    static_cast<T*>(to.data)[(row0 + r) * to.row_stride + column0 + across] = tile[r][across];
  }
}

}  // namespace

MatrixView row_major_copy(const MatrixView& m, Memory& memory, Stream stream) {
  const std::int64_t item = item_size(m.dtype), align = 16 / item;
  MatrixView copy = m;
  copy.row_stride = (m.cols + align - 1) / align * align;
  copy.col_stride = 1;
  copy.data = memory.take(m.rows * copy.row_stride * item);
  const Grid grid{blocks_for(m.rows, kTile), blocks_for(m.cols, kTile), kTile * kTileRows};
  const auto start = [&](auto kernel) { launch("copying X", kernel, grid, stream, m, copy); };
  switch (item) {
    case 1:
      start(copy_tiles<std::uint8_t>);
      break;
    case 2:
      start(copy_tiles<std::uint16_t>);
      break;
    case 4:
      start(copy_tiles<std::uint32_t>);
      break;
    default:
      start(copy_tiles<std::uint64_t>);
  }
  return copy;
}

}  // namespace sparsecore::cuda
