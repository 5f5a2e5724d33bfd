// Long rows found and split (pieces.h).
#pragma once

#include "memory.h"
#include "pieces.h"

namespace sparsecore::cuda {

// The rows that `offsets` end, whole where none is longer than piece_length(nnz).
Pieces row_pieces(const IndexView& offsets, std::int64_t nnz, Memory& memory, Stream stream);
// The same where one is known to be longer.
Pieces split_rows(const IndexView& offsets, std::int64_t nnz, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
