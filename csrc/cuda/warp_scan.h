// Sums and maxima over the lanes of a warp, all of which take part.
#pragma once

#include <cuda_runtime.h>

namespace sparsecore::cuda {

constexpr int kWarp = 32;

// How many items lanes below have.
__device__ __forceinline__ int items_before(int count) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  int sum = count;
#pragma unroll
  for (int delta = 1; delta < kWarp; delta *= 2) {
    const int other = __shfl_up_sync(~0u, sum, static_cast<unsigned>(delta));
    if (lane >= delta) sum += other;
  }
  return sum - count;
}

// The largest number of this lane and those below.
__device__ __forceinline__ int largest_up_to(int number) {
#pragma unroll
  for (int delta = 1; delta < kWarp; delta *= 2) {
    // A lane without one `delta` below gets its own.
    const int other = __shfl_up_sync(~0u, number, static_cast<unsigned>(delta));
    if (other > number) number = other;
  }
  return number;
}

__device__ __forceinline__ int of_last_lane(int number) {
  return __shfl_sync(~0u, number, kWarp - 1);
}

}  // namespace sparsecore::cuda
