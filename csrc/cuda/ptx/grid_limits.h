// How long a grid is (CUDA C++ Programming Guide, "Technical Specifications per Compute
// Capability"). The emulation of tests has a header of the same name.
#pragma once

#include <cstdint>

namespace sparsecore::cuda {

constexpr std::int64_t kMostBlocks = 0x7fffffff;                        // along the first axis
constexpr std::int64_t kMostBlocksDown = 0xffff, kMostLayers = 0xffff;  // the second, the third

}  // namespace sparsecore::cuda
