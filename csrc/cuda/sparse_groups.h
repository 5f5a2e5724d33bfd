// A dense matrix of which few items of each group are not zero, made fit to be compressed.
#pragma once

#include <cstdint>

#include "memory.h"

namespace sparsecore::cuda {

// 2 of 4 items along a row, or 1 of 2.
struct SparseGroups {
  int size;
  bool has_negative_zero;  // whether a sign bit alone is a number's zero
  std::int64_t item_bytes;
};

// Strides in items.
struct StridedItems {
  const void* data;
  std::int64_t rows, cols, row_stride, col_stride;
};

struct DenseGroups {
  const void* items;       // (rows, cols) in rows without gaps, -0.0 replaced by +0.0
  std::int64_t first_bad;  // the first group with more than half of its items, -1 for none
};

// `cols` is a multiple of the group's size. Waits for the stream.
DenseGroups checked_groups(const StridedItems& m, const SparseGroups& groups, Memory& memory,
                           Stream stream);

}  // namespace sparsecore::cuda
