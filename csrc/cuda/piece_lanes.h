// Kernels that go through entries piece by piece (pieces.h), some lanes of a warp each.
#pragma once

#include "launch.h"
#include "pieces.h"
#include "warp_scan.h"

namespace sparsecore::cuda {

constexpr int kPieceThreads = 128, kFewLanes = 8, kTwoLanes = 2;

// Whether kFewLanes a piece leave fewer of them idle than a warp.
inline bool are_short(const Pieces& pieces, std::int64_t entries) {
  return entries < 16 * pieces.count;
}
// And whether kTwoLanes do, then: pieces of a few entries take the time of loads that wait for one
// another, which more of them at once hide.
inline bool are_very_short(const Pieces& pieces, std::int64_t entries) {
  return entries < 4 * pieces.count;
}

template <int kLanes>
Grid grid_of(const Pieces& pieces) {
  return {blocks_for(pieces.count, kPieceThreads / kLanes), 1, kPieceThreads};
}
template <int kLanes>
__device__ __forceinline__ std::int64_t piece_of_lanes() {
  return std::int64_t{blockIdx.x} * (kPieceThreads / kLanes) +
         static_cast<int>(threadIdx.x) / kLanes;
}
template <int kLanes>
__device__ __forceinline__ int lane_of() {
  return static_cast<int>(threadIdx.x) % kLanes;
}

}  // namespace sparsecore::cuda
