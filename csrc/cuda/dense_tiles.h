// A dense matrix as the tiles that one pass over it takes, and the room for what it finds there.
#pragma once

#include <cstdlib>

#include "index_arrays.h"
#include "launch.h"
#include "scalars.h"
#include "warp_scan.h"

namespace sparsecore::cuda {

constexpr int kTileThreads = 128;  // of the block that takes one

// A matrix as tiles. A row consists of vectors of kVector items, a row without columns of one that
// holds nothing; a warp takes neighbouring ones, kSteps a lane.
template <class Bits, int kVector>
struct Tiles {
  static constexpr int kSteps = kVector == 1 ? 16 : 8;

  MatrixView dense;      // row-major
  std::uint64_t digits;  // the bits of an item of which one is set in a nonzero: all but the sign
  std::int64_t per_row;  // vectors
  std::int64_t rows_on, vectors_on;  // from a lane's vector to its next: rows, and vectors in a row

  Tiles(const MatrixView& dense_, std::uint64_t digits_)
      : dense(dense_),
        digits(digits_),
        per_row(dense.cols > kVector ? dense.cols / kVector : 1),
        rows_on(kWarp / per_row),
        vectors_on(kWarp % per_row) {}
  SPARSECORE_INLINE std::int64_t vectors() const { return dense.rows * per_row; }
  // Whether vectors follow one another in memory.
  SPARSECORE_INLINE bool are_contiguous() const {
    return dense.cols > 0 && dense.row_stride == dense.cols;
  }
  std::int64_t count() const { return blocks_for(vectors(), kTileThreads * kSteps); }
};

// Where a lane's vectors are, one after another.
template <class Bits, int kVector>
struct Place {
  std::int64_t row, vector;  // of its row

  __device__ __forceinline__ bool is_in(const Tiles<Bits, kVector>& tiles) const {
    return row < tiles.dense.rows;
  }
  __device__ __forceinline__ std::int64_t column() const { return vector * kVector; }
  // Zeros past the end.
  __device__ __forceinline__ Vector<Bits, kVector> items(const Tiles<Bits, kVector>& tiles) const {
    if (!is_in(tiles) || column() >= tiles.dense.cols) return {};
    const Bits* const from =
        static_cast<const Bits*>(tiles.dense.data) + row * tiles.dense.row_stride + column();
    return *reinterpret_cast<const Vector<Bits, kVector>*>(from);
  }
  __device__ __forceinline__ void step(const Tiles<Bits, kVector>& tiles) {
    row += tiles.rows_on;
    vector += tiles.vectors_on;
    if (vector < tiles.per_row) return;
    vector -= tiles.per_row;
    ++row;
  }
};

// A bit for each nonzero.
template <class Bits, int kVector>
SPARSECORE_INLINE unsigned kept_of(const Vector<Bits, kVector>& items, std::uint64_t digits) {
  unsigned kept = 0;
#pragma unroll
  for (int v = 0; v < kVector; ++v) {
    const bool is_kept = (items.items[v] & static_cast<Bits>(digits)) != 0;
    kept |= (is_kept ? 1u : 0u) << v;
  }
  return kept;
}

// Room for entries, and how much of it tiles may use: a matrix that fills it early will need more.
struct Room {
  std::int64_t entries, at_first, per_tile;

  SPARSECORE_INLINE std::int64_t up_to(std::int64_t tile) const {
    const std::int64_t so_far = at_first + per_tile * (tile + 1);
    return so_far < entries ? so_far : entries;
  }
};

// One pass that copies its entries moves fewer bytes than a second one up to so many of them. Room
// for them takes half of what the matrix does.
template <class Bits, int kVector>
std::int64_t worth_copying(const Tiles<Bits, kVector>& tiles) {
  const MatrixView& dense = tiles.dense;
  const std::int64_t rows = dense.rows > 0 ? dense.rows - 1 : 0,
                     stride = std::abs(dense.row_stride);
  const std::int64_t bytes =  // rows may lie over one another
      (rows * (stride < dense.cols ? stride : dense.cols) + dense.cols) *
      std::int64_t{sizeof(Bits)};
  return bytes / (2 * (std::int64_t{sizeof(Bits)} + column_width(dense.cols)));
}

}  // namespace sparsecore::cuda
