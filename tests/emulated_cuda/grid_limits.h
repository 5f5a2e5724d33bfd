// Shorter grids than the hardware's, so that tests of a few columns come to their end.
#pragma once

#include <cstdint>

namespace sparsecore::cuda {

constexpr std::int64_t kMostBlocks = 0x7fffffff, kMostBlocksDown = 3, kMostLayers = 0xffff;

}  // namespace sparsecore::cuda
