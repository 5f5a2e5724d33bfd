// What the sweeps over blocks of rows and columns share: four rows of sums in registers.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "simd.h"

namespace sparsecore::SPARSECORE_TARGET {

// As many as leave registers for the value and the loads: 16 of 32, or 12 of 16, hold sums.
constexpr int kBlockVectors = kVectorBytes == 64 ? 4 : 3;

template <class Acc, int V>
struct BlockSums {
  static constexpr int kRows = 4;
  static constexpr std::int64_t kStride = V * kLanes<Acc>;
  Vec<Acc> sum[kRows][V];

  SPARSECORE_INLINE void load_from(const BlockTile<Acc>& tile, const std::uint16_t* rows) {
    for (int i = 0; i < kRows; ++i) {
      const Acc* from = tile.sums + rows[i] * kStride;
      for (int v = 0; v < V; ++v) {
        sum[i][v] = tile.first ? Vec<Acc>{} : load(from + v * kLanes<Acc>);
      }
    }
  }
  SPARSECORE_INLINE void add(int row, Acc value, const Acc* x) {
    const Vec<Acc> factor = broadcast(value);
    for (int v = 0; v < V; ++v) {
      sum[row][v] = fma<Acc>(factor, load(x + v * kLanes<Acc>), sum[row][v]);
    }
  }
  SPARSECORE_INLINE void store_to(const BlockTile<Acc>& tile, const std::uint16_t* rows) const {
    for (int i = 0; i < kRows; ++i) {
      Acc* to = tile.sums + rows[i] * kStride;
      for (int v = 0; v < V; ++v) store(to + v * kLanes<Acc>, sum[i][v]);
    }
  }
};

// Picks the instantiation for the tile's number of vectors.
template <template <class, int> class Sweep, class Acc, class Tile>
SPARSECORE_INLINE void with_vectors(const Tile& tile) {
  switch (tile.vectors) {
    case 1:
      return Sweep<Acc, 1>::run(tile);
    case 2:
      return Sweep<Acc, 2>::run(tile);
    case 3:
      return Sweep<Acc, 3>::run(tile);
    default:
      assert(tile.vectors == 4 && kBlockVectors == 4);
      if constexpr (kBlockVectors == 4) return Sweep<Acc, 4>::run(tile);
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
