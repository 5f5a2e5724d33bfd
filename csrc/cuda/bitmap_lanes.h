// What the lanes of a warp know of a block of a bitmap.
#pragma once

#include <cuda_runtime.h>

namespace sparsecore::cuda {

constexpr int kWarp = 32;

// How many items lanes below have; all lanes of the warp take part.
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

}  // namespace sparsecore::cuda
