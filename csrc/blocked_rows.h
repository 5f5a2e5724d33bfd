// The rows of a CSR matrix cut at column blocks: what products that keep a part of X in the
// first-level cache go by.
//
// Columns are cut into blocks of block_columns, so that the rows of X that a block needs fit that
// cache. In each column block, the rows of a row block are sorted by their number of entries there,
// longest first, and taken four at a time: rows of nearly equal length run side by side. A row's
// entries keep their order, whatever rows it is grouped with: no sum depends on the grouping.
//
// Bytes: 16 for four rows of each column block.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels.h"
#include "views.h"

namespace sparsecore {

constexpr int kGroupRows = 4;

class BlockedRows {
 public:
  // Reads the pattern of `a`, not its values.
  BlockedRows(const CsrView& a, std::int64_t block_columns, int threads);

  // One column block of one row block. Of each group's four rows: how many entries, and which row.
  struct Block {
    std::int64_t groups;
    const std::uint16_t* counts;
    const std::uint16_t* rows;
  };

  std::int64_t row_blocks() const { return static_cast<std::int64_t>(blocks_.size()); }
  std::int64_t column_blocks() const { return column_blocks_; }
  std::int64_t block_columns() const { return block_columns_; }
  Block block(std::int64_t row_block, std::int64_t column_block) const;
  std::int64_t nbytes() const;

  // Calls body(column block, group, counts, csr_entries) for every group that has entries, in
  // order; csr_entries[i] is where the entries of its i-th row begin.
  template <class Body>
  void for_each_group(const IndexView& offsets, std::int64_t row_block, Body body) const {
    const std::int64_t first_row = row_block * kBlockedRows;
    std::array<std::int64_t, kBlockedRows + kGroupRows> next{};
    for (std::int64_t r = 0; r < kBlockedRows && first_row + r < rows_; ++r) {
      next[static_cast<std::size_t>(r)] = offsets[first_row + r];
    }
    for (std::int64_t c = 0; c < column_blocks_; ++c) {
      const Block part = block(row_block, c);
      for (std::int64_t g = 0; g < part.groups; ++g) {
        const std::uint16_t* const counts = part.counts + g * kGroupRows;
        if (counts[0] == 0) break;  // so are all groups after it
        std::array<std::int64_t, kGroupRows> begin;
        for (std::size_t i = 0; i < kGroupRows; ++i) {
          std::int64_t& p = next[part.rows[g * kGroupRows + static_cast<std::int64_t>(i)]];
          begin[i] = p;
          p += counts[i];
        }
        body(c, g, counts, begin.data());
      }
    }
  }

 private:
  struct RowBlock {
    std::vector<std::uint16_t> counts;  // [column block][group][4]
    std::vector<std::uint16_t> rows;    // likewise
  };

  RowBlock sorted_rows(const CsrView& a, std::int64_t row_block) const;

  std::int64_t rows_, block_columns_, column_blocks_;
  std::vector<RowBlock> blocks_;
};

}  // namespace sparsecore
