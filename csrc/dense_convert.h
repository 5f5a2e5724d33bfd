// Between dense matrices and structures: CSR and 2:4, both ways.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "formats.h"

namespace sparsecore {

// The nonzeros of a dense matrix (-0.0 is zero, NaN is not).
struct Nonzeros {
  std::shared_ptr<const CsrStructure> structure;
  Pages<std::byte> values;
};
Nonzeros csr_from_dense(const MatrixView& dense, int threads);

// out[row * cols + column] = value; `out` is zeroed by the caller.
void scatter_dense(const CsrStructure& a, const void* values, std::int64_t item_size, void* out);
void scatter_dense(const Sparse24Structure& a, const void* values, std::int64_t item_size,
                   void* out);

// 2:4 selection (mask, rows x cols bytes) and compression: the structure, and the values in a
// buffer of rows x 2 * ceil(cols / 4); with `prune`, of the two largest magnitudes of each four.
// Otherwise std::invalid_argument names the first row and group that is not 2:4.
void prune_24(const MatrixView& dense, std::uint8_t* mask, int threads);
std::shared_ptr<const Sparse24Structure> compress_24(const MatrixView& dense, bool prune,
                                                     void* values, int threads);

}  // namespace sparsecore
