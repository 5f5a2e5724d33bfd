// Warps, or parts of one, that take a piece of a row each.
#pragma once

#include "piece_lanes.h"

namespace sparsecore::cuda {

// The mask of the kLanes lanes that work together with this one.
template <int kLanes>
__device__ __forceinline__ unsigned lanes_of_segment() {
  if (kLanes == kWarp) return ~0u;
  const auto lane = static_cast<unsigned>(lane_of<kWarp>());
  return ((1u << (kLanes % kWarp)) - 1u) << (lane / kLanes * kLanes);
}

// Whether rows are whole vectors of `items` items that lie at multiples of their size.
inline bool is_aligned(const MatrixView& m, std::int64_t items) {
  const std::int64_t bytes = items * item_size(m.dtype);
  return m.cols % items == 0 && m.row_stride % items == 0 &&
         reinterpret_cast<std::uintptr_t>(m.data) % static_cast<std::uintptr_t>(bytes) == 0;
}

}  // namespace sparsecore::cuda
