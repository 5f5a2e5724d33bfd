// Packed sweep: sums[row][:] += value * panel[offset][:], four rows at a time, for one block of
// rows and of columns (packed.h has the layout).
//
// Why: a row sweep streams the rows of X that it needs through the second-level cache, which gives
// one vector in two cycles at best, where the arithmetic units take two a cycle. Here the part of X
// that a column block needs (block_columns + 1 rows of up to four vectors) stays in the first level
// while every group of rows passes over it. Four rows by V vectors of sums lie in registers; an
// entry costs one load of its value, one of its offset, and V loads fused with multiply-adds.
// Bytes: 6 an fp32 entry from the second level or memory, once a tile of columns; the sums are read
// and written once a column block. Flops: 2 * entries * N. Bound by the load ports.
// Preconditions: the panel's row `block_columns` is zero; sums have room for kPackedRows + 4 rows.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "entries.h"

namespace sparsecore::SPARSECORE_TARGET {

// As many as leave registers for the value and the loads: 16 of 32, or 12 of 16, hold sums.
constexpr int kPackedVectors = kVectorBytes == 64 ? 4 : 3;

template <class Acc, int V>
void packed_groups(const PackedTile<Acc>& tile) {
  constexpr int W = kLanes<Acc>, kRows = 4;
  constexpr std::int64_t kStride = V * W;
  alignas(64) Acc decoded[kRows * kMaxBlockColumns];
  const std::uint16_t* rows = tile.rows;
  const Acc* const in_place =
      tile.dtype == DTypeOf<Acc>::value ? static_cast<const Acc*>(tile.values) : nullptr;
  std::int64_t entry = tile.first_entry;
  for (std::int64_t g = 0; g < tile.groups; ++g, rows += kRows) {
    const std::int64_t steps = tile.counts[g * kRows];
    if (steps == 0 && !tile.first) return;  // so are all groups after it
    const Acc* values = in_place + entry;
    if (in_place == nullptr) {
      values = decode_values(tile.values, tile.dtype, entry, steps * kRows, decoded);
    }
    const std::uint16_t* offsets = tile.offsets + entry;
    Vec<Acc> sum[kRows][V];
    for (int i = 0; i < kRows; ++i) {
      const Acc* from = tile.sums + rows[i] * kStride;
      for (int v = 0; v < V; ++v) sum[i][v] = tile.first ? Vec<Acc>{} : load(from + v * W);
    }
    for (std::int64_t l = 0; l < steps; ++l, values += kRows, offsets += kRows) {
      for (int i = 0; i < kRows; ++i) {
        const Vec<Acc> value = broadcast(values[i]);
        const Acc* x = tile.panel + offsets[i] * kStride;
        for (int v = 0; v < V; ++v) sum[i][v] = fma<Acc>(value, load(x + v * W), sum[i][v]);
      }
    }
    for (int i = 0; i < kRows; ++i) {
      Acc* to = tile.sums + rows[i] * kStride;
      for (int v = 0; v < V; ++v) store(to + v * W, sum[i][v]);
    }
    entry += steps * kRows;
  }
}

template <class Acc>
void packed_sweep(const PackedTile<Acc>& tile) {
  switch (tile.vectors) {
    case 1:
      return packed_groups<Acc, 1>(tile);
    case 2:
      return packed_groups<Acc, 2>(tile);
    case 3:
      return packed_groups<Acc, 3>(tile);
    default:
      assert(tile.vectors == 4 && kPackedVectors == 4);
      if constexpr (kPackedVectors == 4) return packed_groups<Acc, 4>(tile);
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
