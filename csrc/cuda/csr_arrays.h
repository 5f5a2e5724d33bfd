// A caller's CSR arrays, looked over and brought to their stored widths.
#pragma once

#include "index_arrays.h"
#include "pieces.h"

namespace sparsecore::cuda {

// A pattern in memory of the Memory that it was made with.
struct Pattern {
  IndexView offsets, columns;
  Pieces pieces;
};

// Where the arrays are no CSR pattern at all, nothing of `pattern` is to be used; where columns of
// a row are not ascending and unique, it has to be sorted yet.
struct CsrArrays {
  Pattern pattern;
  bool is_valid, is_ascending;
};

// `indptr` has rows + 1 items. Whatever the arrays hold, nothing outside them is touched.
CsrArrays csr_arrays(const GivenIndices& indptr, const GivenIndices& indices, std::int64_t rows,
                     std::int64_t cols, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
