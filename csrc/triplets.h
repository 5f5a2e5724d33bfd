// Triplets (row, column, value) in any order, duplicates among them -> CSR; and the transpose,
// which is the same sort.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "formats.h"

namespace sparsecore {

enum class Duplicates { kSum, kError };

// Values that are sorted, and their duplicates summed, along with the coordinates. data == nullptr:
// the caller does that himself, by what CanonicalCsr tells.
struct Values {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  // Called once: returns where `size` values of the same dtype are to be written.
  std::function<void*(std::int64_t size)> room;
};

// How values that were not given get to their places: entry i of the sorted input is the caller's
// value order[i] (absent: the input was canonical); where coordinates repeated, starts lists the
// first sorted entry of each run, to be summed (absent: nothing repeated).
struct ValueOrder {
  std::optional<std::vector<std::int64_t>> order;
  std::optional<std::vector<std::int64_t>> starts;
};

// By row, then column, no coordinate twice.
struct CanonicalCsr {
  std::shared_ptr<const CsrStructure> structure;
  ValueOrder order;
};
struct CanonicalTriplets {
  IndexArray row, col;
  ValueOrder order;
};

// fp16 and bf16 are summed in fp32 and rounded once; std::overflow_error where int8 sums do not
// fit.
CanonicalCsr csr_from_triplets(const IndexView& row, const IndexView& col, std::int64_t rows,
                               std::int64_t cols, Duplicates duplicates, const Values& values,
                               int threads);
// The same without memory for rows that hold nothing.
CanonicalTriplets sum_triplets(const IndexView& row, const IndexView& col, std::int64_t rows,
                               std::int64_t cols, const Values& values, int threads);

}  // namespace sparsecore
