// The path that merges a CSR matrix's entries with the ends of its rows, and where it is cut:
// Merrill & Garland (2016), "Merge-based Parallel Sparse Matrix-Vector Multiplication". A step of
// the path is an entry, or the end of a row, which follows the row's entries; a diagonal is how
// many steps were taken. Shares of as many steps are as much work, whatever the rows are.
#pragma once

#include "../views.h"

namespace sparsecore::cuda {

// Where the path crosses a diagonal: how many rows have ended, and entries been passed, before it.
struct MergePoint {
  std::int64_t row, entry;
};

// Where each row ends.
struct RowEnds {
  IndexView offsets;

  SPARSECORE_INLINE std::int64_t operator[](std::int64_t row) const { return offsets[row + 1]; }
  SPARSECORE_INLINE std::int64_t rows() const { return offsets.size - 1; }
};

// Between which numbers of rows the path crosses the diagonal.
template <class Index>
struct RowRange {
  Index low, high;
};
template <class Index>
SPARSECORE_INLINE RowRange<Index> rows_at(Index diagonal, Index rows, Index entries) {
  return {diagonal > entries ? diagonal - entries : 0, diagonal < rows ? diagonal : rows};
}

// Whether row `row`, whose entries end at `end`, has ended before the diagonal. So have those
// before.
template <class Index>
SPARSECORE_INLINE bool has_ended(Index row, Index end, Index diagonal) {
  return end + row < diagonal;
}

// How many rows have ended before the diagonal, by halves.
template <class Ends, class Index>
SPARSECORE_INLINE Index rows_before(const Ends& ends, RowRange<Index> range, Index diagonal) {
  while (range.low < range.high) {
    const Index middle = range.low + (range.high - range.low) / 2;
    if (has_ended(middle, ends[middle], diagonal)) {
      range.low = middle + 1;
    } else {
      range.high = middle;
    }
  }
  return range.low;
}

// The share in which a row begins whose first entry is `begin`.
SPARSECORE_INLINE std::int64_t share_of_row(std::int64_t row, std::int64_t begin,
                                            std::int64_t share) {
  return (row + begin) / share;
}

}  // namespace sparsecore::cuda
