// A CSR matrix laid out for products with few right-hand columns (cpu/block_permute.h reads it).
//
// Sixteen rows lie side by side, a row to a lane, so that sums need no adding across lanes and no
// masks. Their entries are taken in chunks. A chunk has a base, the first column that any of the
// sixteen rows still needs, and of each row the next entries (up to 5, 4 or 2: chunk_codes.h) whose
// columns lie in a window behind the base: values[step][row], and one 32-bit code a row that holds
// their distances from the base. What is left of a row's steps is padding, the value zero.
//   Permuted: a window of 63 columns. Processors that pick any lane of two registers in one
// instruction take X from registers. As each chunk begins where the slowest row is, rows run ahead
// and fall behind within the window, and little is padded: random matrices of density 0.5, 0.2, 0.1
// have 1.03, 1.13, 1.36 slots an entry.
//   Permuted, wide: a window of 127 columns, for sparser matrices: 1.15, 1.35, 2.0 slots an entry
// at density 0.1, 0.05, 0.02. Bases are multiples of sixteen, as twice as many registers that each
// lie across two cache lines would take as long to load as the permutations.
//   Gathered: a window of up to 65535 columns, for the sparsest matrices and other processors. 1.01
//   to 1.1.
// Windows of 32 and 256 columns, and fields of 8 bits, were measured too (docs/adr/0011).
//
// Rows are sorted by length within row blocks of 128, so that the sixteen are about equally long.
//
// Padding never meets what X holds: kernels put a zero in the permuted window's last place, and the
// gathered form reads a copy of X with a zero behind every window (position()).
//
// Bytes: 4.8 a slot of fp32 (permuted), 5 (wide) or 6, and 4 a chunk; a lane's number a row.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "chunk_codes.h"
#include "formats.h"
#include "pages.h"

namespace sparsecore {

class BlockPermuteStructure {
 public:
  // Rows of a row block. Its lanes without a row have numbers from here on.
  static constexpr std::int64_t kRows = 128;

  BlockPermuteStructure(std::shared_ptr<const CsrStructure> csr, ChunkForm form, int threads);

  // One row block.
  struct Block {
    std::span<const std::int64_t> starts;  // each group's first chunk, and the end
    const std::uint8_t* rows;              // sixteen a group, counted in the row block
  };

  const std::shared_ptr<const CsrStructure>& csr() const { return csr_; }
  ChunkForm form() const { return form_; }
  std::int64_t row_blocks() const { return std::ssize(block_starts_) - 1; }
  // Slots, padding included.
  std::int64_t size() const { return chunks() * chunk_steps(form_) * kChunkRows; }
  const std::uint32_t* bases() const { return bases_.data(); }
  const std::uint32_t* codes() const { return codes_.data(); }
  // Each row block's first chunk, and the end.
  const std::vector<std::int64_t>& block_starts() const { return block_starts_; }
  Block block(std::int64_t row_block) const;
  std::int64_t nbytes() const;

  // Where the copy of X that kernels read has a column (bases are such positions), and its length.
  std::int64_t window() const { return window_; }
  std::int64_t position(std::int64_t column) const {
    return form_ == ChunkForm::kGathered ? column + column / window_ : column;
  }
  std::int64_t copy_length() const;

  // Values of item_size bytes from CSR order into slots, padding zero, and back.
  void pack(const void* csr_values, std::int64_t item_size, void* slots, int threads) const;
  void unpack(const void* slots, std::int64_t item_size, void* csr_values) const;

 private:
  struct Group;
  struct Chunks;

  std::int64_t chunks() const { return block_starts_.back(); }
  std::int64_t groups() const { return std::ssize(group_starts_) - 1; }
  // The CSR entries of a group's rows.
  Group entries_of(std::int64_t group) const;
  void sort_rows(std::int64_t row_block);
  Chunks cut(std::int64_t row_block);
  // Calls body(slot, csr_entry) for every slot of a row block that is no padding.
  template <class Body>
  void for_each_entry(std::int64_t row_block, Body body) const;

  std::shared_ptr<const CsrStructure> csr_;
  ChunkForm form_;
  std::int64_t window_;
  std::vector<std::uint8_t> rows_;                         // [group][16]
  std::vector<std::int64_t> group_starts_, block_starts_;  // chunks
  Pages<std::uint32_t> bases_, codes_;
};

}  // namespace sparsecore
