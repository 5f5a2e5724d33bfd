// Binary search in index arrays, for kernels.
#pragma once

#include "../views.h"

namespace sparsecore::cuda {

// The first of `count` ascending indices that is not below `value`; `count` where all are.
SPARSECORE_INLINE std::int64_t first_not_below(const IndexView& indices, std::int64_t count,
                                               std::int64_t value) {
  std::int64_t low = 0, high = count;
  while (low < high) {
    const std::int64_t middle = low + (high - low) / 2;
    if (indices[middle] < value) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

}  // namespace sparsecore::cuda
