// Blocked sweep: as the packed sweep (packed_sweep.h), from CSR as it is.
//
// Four rows of nearly equal length are read from four places instead of one, and what the longer of
// them have left is added a row at a time. That is slower by a tenth, but nothing has to be packed:
// a product that runs once needs only the rows' counts (blocked_rows.h), which cost a tenth of it.
// Bytes: 4 + the column's 1, 2 or 4 an fp32 entry, once a tile of columns; the sums are read and
// written once a column block. Flops: 2 * entries * N. Bound by the load ports.
// Preconditions: sums have room for kBlockedRows + 4 rows.
#pragma once

#include "block_sums.h"
#include "entries.h"

namespace sparsecore::SPARSECORE_TARGET {

// Columns of another width than 16 bits, from the block's first on.
__attribute__((noinline)) inline void decode_block_columns(const IndexView& columns,
                                                           std::int64_t first, std::int64_t n,
                                                           std::int64_t first_column,
                                                           std::uint16_t* buffer) {
  const auto narrow = [&](auto* src) {
    for (std::int64_t i = 0; i < n; ++i) {
      buffer[i] =
          static_cast<std::uint16_t>(static_cast<std::int64_t>(src[first + i]) - first_column);
    }
  };
  switch (columns.width) {
    case 1:
      return narrow(static_cast<const std::uint8_t*>(columns.data));
    case 4:
      return narrow(static_cast<const std::uint32_t*>(columns.data));
    default:
      return narrow(static_cast<const std::uint64_t*>(columns.data));
  }
}

template <class Acc, int kWidth>
struct BlockedGroups {
  static void run(const BlockedTile<Acc>& tile) {
    using Sums = BlockSums<Acc, kWidth>;
    constexpr int kRows = Sums::kRows;
    alignas(64) Acc decoded_values[kRows][kMaxBlockColumns];
    alignas(64) std::uint16_t decoded_columns[kRows][kMaxBlockColumns];
    const bool values_in_place = tile.dtype == DTypeOf<Acc>::value;
    const bool columns_in_place = tile.columns.width == 2;
    const Acc* const panel = tile.panel + (columns_in_place ? 0 : tile.first_column * kWidth);
    for (std::int64_t g = 0; g < tile.groups; ++g) {
      const std::uint16_t* const counts = tile.counts + g * kRows;
      if (counts[0] == 0 && !tile.first) return;  // so are all groups after it
      const Acc* values[kRows];
      const std::uint16_t* columns[kRows];
      for (int i = 0; i < kRows; ++i) {
        const std::int64_t entry = tile.first_entry + tile.starts[g * kRows + i];
        if (values_in_place) {
          values[i] = static_cast<const Acc*>(tile.values) + entry;
        } else {
          values[i] = decode_values(tile.values, tile.dtype, entry, counts[i], decoded_values[i]);
        }
        if (columns_in_place) {
          columns[i] = static_cast<const std::uint16_t*>(tile.columns.data) + entry;
        } else {
          decode_block_columns(tile.columns, entry, counts[i], tile.first_column,
                               decoded_columns[i]);
          columns[i] = decoded_columns[i];
        }
      }
      Sums sums;
      sums.load_from(tile, tile.rows + g * kRows);
      const std::int64_t shortest = counts[kRows - 1];
      const auto add = [&](int i, std::int64_t l) {
        sums.add(i, values[i][l], panel + columns[i][l] * kWidth);
      };
      for (std::int64_t l = 0; l < shortest; ++l) {
        for (int i = 0; i < kRows; ++i) add(i, l);
      }
#pragma GCC unroll 4  // or the sums would have to lie in memory
      for (int i = 0; i < kRows - 1; ++i) {
        for (std::int64_t l = shortest; l < counts[i]; ++l) add(i, l);
      }
      sums.store_to(tile, tile.rows + g * kRows);
    }
  }
};

template <class Acc>
void blocked_sweep(const BlockedTile<Acc>& tile) {
  with_width<BlockedGroups, Acc>(tile);
}

}  // namespace sparsecore::SPARSECORE_TARGET
