// A CSR matrix packed for products with two and more right-hand columns (cpu/packed_sweep.h reads
// it).
//
// Each group of four rows of a column block (blocked_rows.h) is stored step by step: step l holds
// the l-th entry of each row, values[4 * l + i] and offsets[4 * l + i], the column counted from the
// block's first. Rows that end early are padded with zeros whose offset is block_columns: a row of
// zeros that the product's copy of X has there, so that padding never meets what X holds.
//
// The CSR structure is not kept: it can be made again from this one.
// Bytes: 6 an fp32 entry, 16 for four rows of each column block, and the padding (below 1 % where a
// row has a dozen entries in a block).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "blocked_rows.h"
#include "formats.h"
#include "pages.h"
#include "plan.h"

namespace sparsecore {

class PackedStructure {
 public:
  // For products with `columns` right-hand columns (negative: unknown, many).
  PackedStructure(const std::shared_ptr<const CsrStructure>& csr, std::int64_t columns,
                  int threads);
  PackedStructure(const CsrView& csr, std::int64_t columns, int threads);

  PlanShape shape() const { return shape_; }
  // The pattern that was packed: while others hold it, that one; else one that is made again.
  std::shared_ptr<const CsrStructure> csr(int threads) const;
  // Whether padding points at a row of zeros after each column block; else at the first row of X,
  // if there is one.
  bool has_zero_rows() const { return rows_.column_blocks() > 1 || shape_.cols == 0; }
  IndexView row_starts() const { return row_starts_.view(); }  // in CSR order
  const BlockedRows& rows() const { return rows_; }
  // Entries, padding included.
  std::int64_t size() const { return starts_.back(); }
  const std::uint16_t* offsets() const { return offsets_.data(); }
  // Where the entries of each column block of each row block begin, and the end.
  std::int64_t start(std::int64_t row_block, std::int64_t column_block) const {
    return starts_[static_cast<std::size_t>(row_block * rows_.column_blocks() + column_block)];
  }
  // How many they are, padding included.
  std::int64_t entries(std::int64_t row_block, std::int64_t column_block) const {
    const auto at = static_cast<std::size_t>(row_block * rows_.column_blocks() + column_block);
    return starts_[at + 1] - starts_[at];
  }
  std::vector<std::int64_t> row_block_starts() const;  // those of each's first, and the end
  std::int64_t nbytes() const;

  // Values of item_size bytes from CSR order into the packed order, padding zero, and back.
  void pack(const void* csr_values, std::int64_t item_size, void* packed, int threads) const;
  void unpack(const void* packed, std::int64_t item_size, void* csr_values, int threads) const;

 private:
  // Calls body(column block, counts, entry, csr_entries) for every group that has entries: where
  // they begin here, and where each of its rows' begin in CSR order, in which body reads or writes
  // `items`.
  template <class Body>
  void for_each_group(int threads, const void* items, std::int64_t item_size, Body body) const;

  PlanShape shape_;
  mutable std::atomic<std::weak_ptr<const CsrStructure>> csr_;
  IndexArray row_starts_;
  BlockedRows rows_;
  std::vector<std::int64_t> starts_;
  Pages<std::uint16_t> offsets_;
};

}  // namespace sparsecore
