// A CSR matrix packed for products with two and more right-hand columns (cpu/packed_sweep.h reads
// it).
//
// Columns are cut into blocks of block_columns, so that the rows of X that a block needs fit a
// first-level cache. In each column block, the rows of a row block are sorted by their number of
// entries there, longest first, and taken four at a time. A group of four rows is stored step by
// step: step l holds the l-th entry of each row, values[4 * l + i] and offsets[4 * l + i], the
// column counted from the block's first. Rows that end early are padded with zeros whose offset is
// block_columns: a row of zeros that the product's copy of X has there, so that padding never meets
// what X holds.
//
// Bytes: 6 an fp32 entry, 16 for four rows of each column block, and the padding (below 1 % where a
// row has a dozen entries in a block). A row's entries keep their order, whatever rows it is
// grouped with: no sum depends on the grouping.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "formats.h"
#include "pages.h"

namespace sparsecore {

constexpr int kGroupRows = 4;

// A group's rows within a row block that do not exist have numbers from kPackedRows on.
constexpr std::int64_t kPackedRows = 128;

class PackedStructure {
 public:
  PackedStructure(std::shared_ptr<const CsrStructure> csr, int threads);

  // One column block of one row block.
  struct Block {
    std::int64_t groups;
    // Of each group's four rows: how many entries, longest first, and the row in the row block.
    const std::uint16_t* counts;
    const std::uint16_t* rows;
    std::int64_t first_entry;  // where its entries begin among all
  };

  const std::shared_ptr<const CsrStructure>& csr() const { return csr_; }
  std::int64_t row_blocks() const { return static_cast<std::int64_t>(blocks_.size()); }
  std::int64_t column_blocks() const { return column_blocks_; }
  std::int64_t block_columns() const { return block_columns_; }
  // Entries, padding included.
  std::int64_t size() const { return size_; }
  const std::uint16_t* offsets() const { return offsets_.data(); }
  // Where each row block's entries begin, and the end.
  const std::vector<std::int64_t>& starts() const { return starts_; }
  Block block(std::int64_t row_block, std::int64_t column_block) const;
  std::int64_t nbytes() const;

  // Values of item_size bytes from CSR order into the packed order, padding zero, and back.
  void pack(const void* csr_values, std::int64_t item_size, void* packed, int threads) const;
  void unpack(const void* packed, std::int64_t item_size, void* csr_values, int threads) const;

 private:
  struct RowBlock {
    std::vector<std::uint16_t> counts;  // [column block][group][4]
    std::vector<std::uint16_t> rows;    // likewise
    std::vector<std::int64_t> begin;    // first entry of each column block, and the end
  };

  std::int64_t groups(std::int64_t row_block) const;
  RowBlock sorted_rows(std::int64_t row_block) const;
  // Calls body(column block, counts, entry, csr_entries) for every group that has entries: where
  // they begin here, and where each of its rows' begin in CSR order.
  template <class Body>
  void for_each_group(std::int64_t row_block, Body body) const;
  // Calls body(row block) for each, on threads.
  template <class Body>
  void for_row_blocks(int threads, Body body) const;

  std::shared_ptr<const CsrStructure> csr_;
  std::int64_t block_columns_, column_blocks_, size_ = 0;
  std::vector<RowBlock> blocks_;
  std::vector<std::int64_t> starts_{0};
  Pages<std::uint16_t> offsets_;
};

}  // namespace sparsecore
