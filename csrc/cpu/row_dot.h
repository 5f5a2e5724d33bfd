// Row dot: y[row] = sum over the entries of a row of value * x[column], CSR as it is stored.
//
// Layout: entries fill the lanes of a vector, x is gathered; values are widened and columns
// extended in registers, straight from where they lie. Bytes: value + column an entry, read once;
// x stays in cache. Flops: 2 * nnz. Bound by the gathers, one load for each lane; hence eight lanes
// at a time (sixteen are slower: 25 us against 21 for the 131072 entries of a 512 x 512 matrix on a
// Xeon with 64-byte vectors; on Zen 5, whose gathers are built, the same from 80 % sparsity down,
// and above longer ends), and no buffer between, which cost as much again.
// A row's last few entries are a whole vector too: what is read beyond the row's end belongs to the
// next rows, and is replaced by zeros, x included.
// Preconditions: columns < 2^31, of 1, 2 or 4 bytes; x_stride == 1.
#pragma once

#include "../kernels.h"
#include "entries.h"
#include "lookup.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc>
constexpr int kDotLanes = kLanes<Acc> < 8 ? kLanes<Acc> : 8;
template <class Acc>
using DotVec = typename LanesOf<kDotLanes<Acc>, Acc>::type;

// The first `count` lanes of v, zeros in the others.
template <class Acc>
SPARSECORE_INLINE DotVec<Acc> first_lanes(DotVec<Acc> v, std::int64_t count) {
  constexpr int L = kDotLanes<Acc>;
  if constexpr (sizeof(Acc) == 8) {
    alignas(64) static constexpr std::int64_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const auto mask = load_lanes<L, std::int64_t>(kMask + 8 - count);
    return reinterpret_cast<DotVec<Acc>>(
        reinterpret_cast<typename LanesOf<L, std::int64_t>::type>(v) & mask);
  } else {
    alignas(64) static constexpr std::int32_t kMask[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
    const auto mask = load_lanes<L, std::int32_t>(kMask + 8 - count);
    return reinterpret_cast<DotVec<Acc>>(
        reinterpret_cast<typename LanesOf<L, std::int32_t>::type>(v) & mask);
  }
}

// Upper half onto lower half. (The last two by vectors, or GCC takes a horizontal addition, which
// is three operations.)
template <int L, class Acc>
SPARSECORE_INLINE Acc sum_lanes(typename LanesOf<L, Acc>::type v) {
  if constexpr (L == 8) {
    return sum_lanes<4, Acc>(__builtin_shufflevector(v, v, 0, 1, 2, 3) +
                             __builtin_shufflevector(v, v, 4, 5, 6, 7));
  } else if constexpr (L == 4 && sizeof(Acc) == 4) {
    v += __builtin_shufflevector(v, v, 2, 3, 2, 3);
    v += __builtin_shufflevector(v, v, 1, 1, 1, 1);
    return v[0];
  } else if constexpr (L == 4) {
    return sum_lanes<2, Acc>(__builtin_shufflevector(v, v, 0, 1) +
                             __builtin_shufflevector(v, v, 2, 3));
  } else {
    v += __builtin_shufflevector(v, v, 1, 1);
    return v[0];
  }
}

template <Gathers kWay, class Acc, class T, class Column>
SPARSECORE_INLINE Acc dot_row(const T* values, const Column* columns, std::int64_t count,
                              std::int64_t readable, const Acc* x) {
  constexpr int L = kDotLanes<Acc>;
  const auto value = [&](std::int64_t t) { return load_widened<Acc, L>(values + t); };
  const auto factor = [&](std::int64_t t) { return gather_columns<L, kWay>(x, columns + t); };
  DotVec<Acc> even = {}, odd = {};
  std::int64_t t = 0;
  for (; t + 2 * L <= count; t += 2 * L) {
    even += value(t) * factor(t);
    odd += value(t + L) * factor(t + L);
  }
  if (t + L <= count) {
    even += value(t) * factor(t);
    t += L;
  }
  if (t + L <= readable) {
    if (t < count) {
      odd += first_lanes<Acc>(value(t), count - t) * first_lanes<Acc>(factor(t), count - t);
    }
    return sum_lanes<L, Acc>(even + odd);
  }
  Acc rest = 0;
  for (; t < count; ++t) rest += load_as<Acc>(values[t]) * x[columns[t]];
  return sum_lanes<L, Acc>(even + odd) + rest;
}

template <Gathers kWay, class Acc, class T, class Column>
void dot_rows(const CsrView& a, const SweepTile<Acc>& tile) {
  constexpr std::int64_t kOffsets = 128;
  std::int64_t offsets[kOffsets + 1];
  const T* const values = static_cast<const T*>(a.values);
  const Column* const columns = static_cast<const Column*>(a.columns.data);
  for (std::int64_t r = tile.row_begin; r < tile.row_end; r += kOffsets) {
    const std::int64_t rows = tile.row_end - r < kOffsets ? tile.row_end - r : kOffsets;
    decode_offsets(a.offsets, r, rows, offsets);
    Acc* y = tile.y + (r - tile.row_begin) * tile.y_stride;
    std::int64_t p = offsets[0];
    for (std::int64_t i = 1; i <= rows; ++i) {
      *y = dot_row<kWay>(values + p, columns + p, offsets[i] - p, a.nnz() - p, tile.x);
      p = offsets[i];
      y += tile.y_stride;
    }
  }
}

template <Gathers kWay, class Acc, class T>
void dot_rows_of(const CsrView& a, const SweepTile<Acc>& tile) {
  switch (a.columns.width) {
    case 1:
      return dot_rows<kWay, Acc, T, std::uint8_t>(a, tile);
    case 2:
      return dot_rows<kWay, Acc, T, std::uint16_t>(a, tile);
    default:
      return dot_rows<kWay, Acc, T, std::uint32_t>(a, tile);
  }
}

template <class Acc>
SPARSECORE_INLINE bool can_dot_rows(const CsrView& a) {
  return a.columns.width <= 4 && a.cols <= INT32_MAX;
}

template <class Acc>
void csr_dot(const CsrView& a, const SweepTile<Acc>& tile) {
  with_gathers(tile.gathers, [&]<Gathers kWay>(GatherWay<kWay>) {
    with_values<Acc>(a.dtype, [&]<class T>(T) { dot_rows_of<kWay, Acc, T>(a, tile); });
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
