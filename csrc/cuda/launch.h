// How the CUDA side calls the runtime: checked, on a stream of the caller's.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "grid_limits.h"
#include "memory.h"

namespace sparsecore::cuda {

// std::runtime_error with what was tried and the runtime's own words.
inline void check(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());  // or a later launch would find it
  throw std::runtime_error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(error));
}

inline std::int64_t blocks_for(std::int64_t items, std::int64_t per_block) {
  return (items + per_block - 1) / per_block;
}

struct Grid {
  std::int64_t blocks, blocks_y = 1;  // a kernel reads which of the latter by block_down()
  int threads;
  int shared_bytes = 0;  // besides what the kernel declares
};

// The second axis of a grid is as long as two of CUDA's. A block past its end does nothing.
__device__ __forceinline__ std::int64_t block_down() {
  return std::int64_t{blockIdx.z} * gridDim.y + blockIdx.y;
}

constexpr int kSharedWithoutAsking = 48 << 10;

// Nothing is launched for an empty grid, which CUDA would refuse.
template <class... Expected, class... Given>
void launch(const char* what, void (*kernel)(Expected...), const Grid& grid, Stream stream,
            Given&&... given) {
  if (grid.blocks == 0 || grid.blocks_y == 0) return;
  const std::int64_t layers = blocks_for(grid.blocks_y, kMostBlocksDown);
  if (grid.blocks > kMostBlocks || layers > kMostLayers) {
    throw std::runtime_error(std::string("CUDA: ") + what + ": too large for one launch");
  }
  cudaLaunchConfig_t config{};
  config.gridDim =
      dim3(static_cast<unsigned>(grid.blocks),
           static_cast<unsigned>(blocks_for(grid.blocks_y, layers)), static_cast<unsigned>(layers));
  config.blockDim = dim3(static_cast<unsigned>(grid.threads), 1, 1);
  config.dynamicSmemBytes = static_cast<std::size_t>(grid.shared_bytes);
  config.stream = stream;
  if (grid.shared_bytes > kSharedWithoutAsking) {
    check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               grid.shared_bytes),
          what);
  }
  check(cudaLaunchKernelEx(&config, kernel, std::forward<Given>(given)...), what);
  check(cudaGetLastError(), what);
}

// Calls body with an unsigned integer of item_size bytes. (dtype.h's is for the device, too, where
// the host's launches cannot be called.)
template <class Body>
decltype(auto) with_bits(std::int64_t item_size, Body&& body) {
  switch (item_size) {
    case 1:
      return body(std::uint8_t{});
    case 2:
      return body(std::uint16_t{});
    case 4:
      return body(std::uint32_t{});
    default:
      return body(std::uint64_t{});
  }
}

}  // namespace sparsecore::cuda
