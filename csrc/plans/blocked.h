// Products that read the matrix as it is stored, by blocks of rows and columns, for the right sides
// that are wide enough for it (choose.h).
#pragma once

#include <vector>

#include "../blocked_rows.h"
#include "../epilogue.h"

namespace sparsecore {

// A CSR pattern cut into blocks.
class CsrBlocks {
 public:
  // Reads the pattern of `a`, not its values.
  CsrBlocks(const CsrView& a, int threads);

  const BlockedRows& rows() const { return rows_; }
  // How many entries the row blocks before each have.
  const std::vector<std::int64_t>& starts() const { return starts_; }
  // Where each row of a block's groups begins, counted from the row block's start.
  const std::uint32_t* row_starts(std::int64_t row_block, std::int64_t column_block) const;
  std::int64_t nbytes() const;

 private:
  BlockedRows rows_;
  std::vector<std::int64_t> starts_;
  std::vector<std::vector<std::uint32_t>> row_starts_;  // [row block][column block][group][4]
};

// out = epilogue(A @ x), A being of these blocks.
void blocked_sweep(const CsrView& a, const CsrBlocks& blocks, const MatrixView& x,
                   const Epilogue& epilogue, const MatrixView& out, int threads);

}  // namespace sparsecore
