// Rows of a CSR pattern on the device: which row an entry is of, and some of them as a pattern.
#pragma once

#include <optional>

#include "csr_arrays.h"

namespace sparsecore::cuda {

// to[p] is the row of entry p.
void row_ids(const CsrView& a, const Pieces& pieces, std::int64_t* to, Stream stream);

struct GatheredRows {
  Pattern pattern;
  const void* values = nullptr;         // where those of `a` were given
  const std::int64_t* order = nullptr;  // else: entry p is the matrix's entry order[p]
};
// Rows `ids` in that order, repeated or not; negative ones count from the end. Nothing where one is
// outside.
std::optional<GatheredRows> gather_rows(const CsrView& a, const GivenIndices& ids, Memory& memory,
                                        Stream stream);

}  // namespace sparsecore::cuda
