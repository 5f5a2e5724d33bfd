// Sums of a channel's taps: sums[target ...] = sum of value * planes[source + offset of tap ...]
// over a row's entries, for eight vectors of the result at a time (depthwise.h has the layout).
//
// Why: a depthwise convolution's matrix has one row and as many columns as the kernel has places;
// as a packed product, three of its four rows would be padding. Here an entry costs a load of its
// value and offset for eight multiply-adds, each with a load; entries that are not stored cost
// nothing.
// Bytes: a channel's planes from the first-level cache, once an entry. Flops: 2 * entries * pixels.
// Bound by loads, of which those of taps beside the first column cross two cache lines.
// Vectors at the end of a row go on beyond it; the next row's overwrite what they leave there, so
// they are in ascending order.
#pragma once

#include "../kernels.h"
#include "convert.h"

namespace sparsecore::SPARSECORE_TARGET {

// The entries of one row of the weights.
template <class Acc>
struct ChannelTaps {
  std::int64_t count;
  const Acc* values;
  std::int32_t offsets[kMostDepthwiseTaps];
  Acc decoded[kMostDepthwiseTaps];

  SPARSECORE_INLINE void load_from(const DepthwiseTile<Acc>& tile, std::int64_t row) {
    const std::int64_t first = tile.row_starts[row];
    count = tile.row_starts[row + 1] - first;
    for (std::int64_t t = 0; t < count; ++t) offsets[t] = tile.offsets[tile.taps[first + t]];
    if (tile.dtype == DTypeOf<Acc>::value) {
      values = static_cast<const Acc*>(tile.values) + first;
    } else {
      load_values(tile.values, tile.dtype, first, count, decoded);
      values = decoded;
    }
  }
};

template <class Acc>
SPARSECORE_INLINE void sum_taps(const ChannelTaps<Acc>& taps, const Acc* planes,
                                const DepthwiseVector* vectors, Acc* sums) {
  constexpr int kCount = kDepthwiseVectors;
  const Acc* from[kCount];
  Vec<Acc> sum[kCount];
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) {
    from[i] = planes + vectors[i].source;
    sum[i] = Vec<Acc>{};
  }
  for (std::int64_t t = 0; t < taps.count; ++t) {
    const Vec<Acc> value = broadcast(taps.values[t]);
    const std::int64_t offset = taps.offsets[t];
#pragma GCC unroll 8
    for (int i = 0; i < kCount; ++i) sum[i] = fma<Acc>(value, load(from[i] + offset), sum[i]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < kCount; ++i) store(sums + vectors[i].target, sum[i]);
}

template <class Acc>
void depthwise(const DepthwiseTile<Acc>& tile) {
  ChannelTaps<Acc> taps;
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    taps.load_from(tile, tile.first_row + r);
    const Acc* const planes = tile.planes + r / tile.multiplier * tile.channel_size;
    for (std::int64_t v = 0; v < tile.vector_count; v += kDepthwiseVectors) {
      sum_taps(taps, planes, tile.vectors + v, tile.sums + r * tile.sums_stride);
    }
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
