// Where the right side of a warpgroup's product lies in shared memory: lines of 128 bytes, in which
// the 16-byte chunks change places by the number of the line, so that eight chunks of one column
// are in different banks. The hardware does the same to the addresses it reads: bits 4 to 6 are
// combined with bits 7 to 9 (PTX ISA 9.0, "Shared Memory Matrix Layout", 128-byte swizzling).
//
// A line runs along k (K-major) or along n (MN-major). Eight lines are an atom of 1024 bytes, which
// begins at a multiple of them.
#pragma once

#include <cstdint>

#include "../dtype.h"

namespace sparsecore::cuda {

constexpr int kLineBytes = 128, kChunkBytes = 16, kLineChunks = 8, kAtomBytes = 1024;
constexpr int kLineItems = kLineBytes / 2;  // of 16 bits

// The first byte of a chunk.
constexpr SPARSECORE_INLINE int chunk_offset(int line, int chunk) {
  return line * kLineBytes + (chunk ^ line % 8) * kChunkBytes;
}

// The 64 bits that name a tile at a shared address ("Matrix Descriptor Format"): address, leading
// and stride byte offset without their last four bits, base offset 0, and 1 for this swizzling.
// Stride: from eight lines to the next eight; along k eight columns of b, along n eight of its
// rows. Leading: along n, from 64 columns to the next 64; not read along k.
constexpr SPARSECORE_INLINE std::uint64_t tile_descriptor(std::uint32_t address, int leading,
                                                          int stride) {
  const auto encoded = [](std::uint64_t bytes) { return (bytes & 0x3FFFFu) >> 4; };
  return encoded(address) | encoded(static_cast<std::uint64_t>(leading)) << 16 |
         encoded(static_cast<std::uint64_t>(stride)) << 32 | std::uint64_t{1} << 62;
}

}  // namespace sparsecore::cuda
