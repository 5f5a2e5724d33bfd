// Making structures from CSR arrays, triplets and other structures.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "formats.h"

namespace sparsecore {

enum class Duplicates { kSum, kError };

// Values to be moved along with their coordinates: items of item_size bytes, from[i] belonging to
// the caller's entry i. from == nullptr: the caller moves them himself, by the order returned.
struct MovedValues {
  const void* from = nullptr;
  void* to = nullptr;
  std::int64_t item_size = 0;
};

// A canonical structure and how the caller's values get there: entry i of the sorted input is the
// caller's value order[i] (absent: the input was sorted, or the values were moved); where
// coordinates repeated, starts lists the first sorted entry of each run, to be summed (absent:
// nothing repeated).
struct SortedCsr {
  std::shared_ptr<const CsrStructure> structure;
  std::optional<std::vector<std::int64_t>> order;
  std::optional<std::vector<std::int64_t>> starts;
};

SortedCsr csr_from_arrays(std::span<const std::int64_t> indptr,
                          std::span<const std::int64_t> indices, std::int64_t rows,
                          std::int64_t cols, Duplicates duplicates);
SortedCsr csr_from_triplets(const IndexView& row, const IndexView& col, std::int64_t rows,
                            std::int64_t cols, Duplicates duplicates, const MovedValues& values);

// Rows `ids` of a structure, in that order; std::out_of_range outside [0, rows).
std::shared_ptr<const CsrStructure> gather_rows(const CsrStructure& a,
                                                std::span<const std::int64_t> ids);
// The values of those rows; `values` and `out` hold items of item_size bytes.
void gather_row_values(const CsrStructure& a, std::span<const std::int64_t> ids, const void* values,
                       std::int64_t item_size, void* out);

// The transposed structure; entry i of it is entry order[i] of `a` (absent: the values were moved).
struct TransposedCsr {
  std::shared_ptr<const CsrStructure> structure;
  std::optional<std::vector<std::int64_t>> order;
};
TransposedCsr transpose(const CsrStructure& a, const MovedValues& values);

}  // namespace sparsecore
