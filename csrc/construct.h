// Making structures: from CSR arrays, triplets, dense matrices and other structures.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "formats.h"

namespace sparsecore {

enum class Duplicates { kSum, kError };

// A canonical structure and how the caller's values get there: entry i of the sorted input is the
// caller's value order[i] (absent: the input was sorted); where coordinates repeated, starts lists
// the first sorted entry of each run, to be summed (absent: nothing repeated).
struct SortedCsr {
  std::shared_ptr<const CsrStructure> structure;
  std::optional<std::vector<std::int64_t>> order;
  std::optional<std::vector<std::int64_t>> starts;
};

SortedCsr csr_from_arrays(std::span<const std::int64_t> indptr,
                          std::span<const std::int64_t> indices, std::int64_t rows,
                          std::int64_t cols, Duplicates duplicates);
SortedCsr csr_from_triplets(std::span<const std::int64_t> row, std::span<const std::int64_t> col,
                            std::int64_t rows, std::int64_t cols, Duplicates duplicates);

// Offsets of the nonzeros (-0.0 is zero, NaN is not); then the structure and the values, given a
// buffer of offsets.back() values.
std::vector<std::int64_t> count_nonzeros(const MatrixView& dense, int threads);
std::shared_ptr<const CsrStructure> fill_nonzeros(const MatrixView& dense,
                                                  std::span<const std::int64_t> offsets,
                                                  void* values, int threads);

// Rows `ids` of a structure, in that order; std::out_of_range outside [0, rows).
std::shared_ptr<const CsrStructure> gather_rows(const CsrStructure& a,
                                                std::span<const std::int64_t> ids);
// The values of those rows; `values` and `out` hold items of item_size bytes.
void gather_row_values(const CsrStructure& a, std::span<const std::int64_t> ids,
                       const void* values, std::int64_t item_size, void* out);

// The transposed structure; entry i of it is entry order[i] of `a`.
struct TransposedCsr {
  std::shared_ptr<const CsrStructure> structure;
  std::vector<std::int64_t> order;
};
TransposedCsr transpose(const CsrStructure& a);

// out[row * cols + column] = value; `out` is zeroed by the caller.
void scatter_dense(const CsrStructure& a, const void* values, std::int64_t item_size, void* out);
void scatter_dense(const Sparse24Structure& a, const void* values, std::int64_t item_size,
                   void* out);

// 2:4 selection (mask, rows x cols bytes) and compression (values and metadata in the canonical
// layout). compress_24 throws std::invalid_argument naming the first row and group that is not 2:4.
void prune_24(const MatrixView& dense, std::uint8_t* mask, int threads);
void compress_24(const MatrixView& dense, void* values, std::uint8_t* metadata, int threads);

}  // namespace sparsecore
