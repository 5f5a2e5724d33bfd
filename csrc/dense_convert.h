// Between dense matrices and structures: CSR and 2:4, both ways.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "formats.h"

namespace sparsecore {

// Offsets of the nonzeros (-0.0 is zero, NaN is not); then the structure and the values, given a
// buffer of offsets.back() values.
std::vector<std::int64_t> count_nonzeros(const MatrixView& dense, int threads);
std::shared_ptr<const CsrStructure> fill_nonzeros(const MatrixView& dense,
                                                  std::span<const std::int64_t> offsets,
                                                  void* values, int threads);

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
