// Sums of all tiles before one, where tiles are counted side by side by blocks that do not wait for
// those that come later: the decoupled look-back of Merrill & Garland (2016), "Single-pass Parallel
// Prefix Scan with Decoupled Look-back". A tile publishes its own sum, adds up what the tiles
// before have published, back to the nearest that knows the sum of all up to it, and publishes that
// of its own. Tiles are taken in the order in which blocks begin, so that whoever is waited for
// runs.
//
// A word holds a sum and what it is of, and is written and read as one: nothing else that a tile
// writes is read by others, so that no fence is needed.
#pragma once

#include "../dtype.h"
#include "warp_scan.h"

namespace sparsecore::cuda {

using Word = unsigned long long;  // what atomicAdd takes

enum class SumOf : unsigned { kNothing, kTile, kAllUpToTile };

struct TileSum {
  SumOf what;
  std::int64_t sum;  // below 2^61
};
constexpr SPARSECORE_INLINE Word packed(TileSum sum) {
  return static_cast<Word>(sum.sum) << 2 | static_cast<Word>(sum.what);
}
constexpr SPARSECORE_INLINE TileSum unpacked(Word word) {
  return {static_cast<SumOf>(word & 3u), static_cast<std::int64_t>(word >> 2)};
}

// What the blocks of a kernel have in common; zeros when it begins.
struct TileSums {
  Word* ticket;
  Word* sums;  // a tile each

  // By one thread of a block.
  __device__ __forceinline__ std::int64_t next_tile() const {
    return static_cast<std::int64_t>(atomicAdd(ticket, Word{1}));
  }
  __device__ __forceinline__ void publish(std::int64_t tile, TileSum sum) const {
    *static_cast<volatile Word*>(sums + tile) = packed(sum);
  }
  // Before the first tile there is nothing, and all of it is known.
  __device__ __forceinline__ TileSum published(std::int64_t tile) const {
    if (tile < 0) return {SumOf::kAllUpToTile, 0};
    return unpacked(*static_cast<const volatile Word*>(sums + tile));
  }
};

// The sum of all tiles before `tile`, whose own is `own`. By one warp of the block that took it.
__device__ __forceinline__ std::int64_t sum_before(const TileSums& tiles, std::int64_t tile,
                                                   std::int64_t own) {
  constexpr unsigned kNap = 32;  // nanoseconds
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  if (lane == 0) tiles.publish(tile, {tile == 0 ? SumOf::kAllUpToTile : SumOf::kTile, own});
  std::int64_t sum = 0;
  for (std::int64_t nearest = tile - 1; nearest >= 0; nearest -= kWarp) {
    TileSum seen = tiles.published(nearest - lane);
    while (__any_sync(~0u, seen.what == SumOf::kNothing)) {
      __nanosleep(kNap);
      seen = tiles.published(nearest - lane);
    }
    const unsigned ends = __ballot_sync(~0u, seen.what == SumOf::kAllUpToTile);
    const int last = ends != 0 ? __ffs(static_cast<int>(ends)) - 1 : kWarp - 1;
    std::int64_t part = lane <= last ? seen.sum : 0;
#pragma unroll
    for (int half = kWarp / 2; half > 0; half /= 2) part += __shfl_xor_sync(~0u, part, half);
    sum += part;
    if (ends != 0) break;
  }
  if (tile > 0 && lane == 0) tiles.publish(tile, {SumOf::kAllUpToTile, sum + own});
  return sum;
}

}  // namespace sparsecore::cuda
