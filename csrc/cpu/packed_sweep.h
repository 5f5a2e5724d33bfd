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
// Preconditions: the panel's row `block_columns` is zero; sums have room for kBlockedRows + 4 rows.
#pragma once

#include "block_sums.h"
#include "entries.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc, int V>
struct PackedGroups {
  static void run(const PackedTile<Acc>& tile) {
    using Sums = BlockSums<Acc, V>;
    constexpr int kRows = Sums::kRows;
    alignas(64) Acc decoded[kRows * kMaxBlockColumns];
    const Acc* const in_place =
        tile.dtype == DTypeOf<Acc>::value ? static_cast<const Acc*>(tile.values) : nullptr;
    std::int64_t entry = tile.first_entry;
    for (std::int64_t g = 0; g < tile.groups; ++g) {
      const std::int64_t steps = tile.counts[g * kRows];
      if (steps == 0 && !tile.first) return;  // so are all groups after it
      const Acc* values = in_place != nullptr ? in_place + entry
                                              : decode_values(tile.values, tile.dtype, entry,
                                                              steps * kRows, decoded);
      const std::uint16_t* offsets = tile.offsets + entry;
      Sums sums;
      sums.load_from(tile, tile.rows + g * kRows);
      for (std::int64_t l = 0; l < steps; ++l, values += kRows, offsets += kRows) {
        for (int i = 0; i < kRows; ++i) {
          sums.add(i, values[i], tile.panel + offsets[i] * Sums::kStride);
        }
      }
      sums.store_to(tile, tile.rows + g * kRows);
      entry += steps * kRows;
    }
  }
};

template <class Acc>
void packed_sweep(const PackedTile<Acc>& tile) {
  with_vectors<PackedGroups, Acc>(tile);
}

}  // namespace sparsecore::SPARSECORE_TARGET
