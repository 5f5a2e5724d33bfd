// 2:4 times many columns: sums[row][:] += value * panel[column][:], some rows at a time, for one
// block of columns, straight from the canonical layout.
//
// Layout: `panel` holds the part of X that a column block needs, one row of X after the other, up
// to kWide24Vectors vectors each, at a distance that is a power of two: a column's place is then
// its two bits of metadata, shifted and masked, plus a constant. So an entry costs one load of its
// value and V loads fused with multiply-adds, and none for its index. All rows have the same
// number of entries, so nothing needs to be sorted or padded.
// The panel of a block (plans/sparse24.cpp says how wide) stays in the first-level cache while all
// rows of a strip pass over it; the rows' values, a few lines from each of many pages, are fetched
// ahead. Bytes: values and metadata once a tile of columns; sums read and written once a column
// block. Flops: 2 * entries * N. Bound by the load ports: V + 1 loads for V multiply-adds, two of
// either a cycle, which is why tiles are wide and rows few. Preconditions: the block begins at a
// multiple of 16 columns; columns beyond the last one are left out, though a slot may name them.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "entries.h"

namespace sparsecore::SPARSECORE_TARGET {

constexpr int kWide24Vectors = kVectorBytes == 64 ? 8 : 6;

// Rows in flight: as many sums as leave registers for a value and the loads, and at least eight,
// which hide the latency of an addition.
constexpr int wide24_rows(int vectors) {
  constexpr int kSums = kVectorBytes == 64 ? 18 : 12;
  return vectors == 1 ? 8 : kSums / vectors;
}

constexpr int round_up_to_power_of_two(int n) {
  int power = 1;
  while (power < n) power *= 2;
  return power;
}

// One row's decoded values and metadata of a block.
template <class Acc>
struct Wide24Row {
  const Acc* values;
  const std::uint8_t* metadata;
};

template <class Acc, int V, int R>
SPARSECORE_INLINE void wide24_rows_of(const Wide24Row<Acc>* rows, std::int64_t steps,
                                      std::int64_t rest, const Acc* panel, Acc* sums, bool first) {
  constexpr int W = kLanes<Acc>;
  constexpr std::int64_t kStride = V * W;
  constexpr int kPitch = round_up_to_power_of_two(V) * kVectorBytes;  // bytes of a panel row
  constexpr int kShift = __builtin_ctz(kPitch);
  constexpr int kEntries = 8;  // of two bytes of metadata, 16 columns
  Vec<Acc> sum[R][V];
  for (int i = 0; i < R; ++i) {
    for (int v = 0; v < V; ++v) sum[i][v] = first ? Vec<Acc>{} : load(sums + i * kStride + v * W);
  }
  const char* x = reinterpret_cast<const char*>(panel);
  const auto add = [&](int i, Acc value, std::uint64_t bits, int e) {
    const auto place = static_cast<std::int64_t>((bits >> (2 * e)) & (std::uint64_t{3} << kShift));
    const Acc* row = reinterpret_cast<const Acc*>(x + e / 2 * 4 * kPitch + place);
    const Vec<Acc> factor = broadcast(value);
    for (int v = 0; v < V; ++v) sum[i][v] = fma<Acc>(factor, load(row + v * W), sum[i][v]);
  };
  for (std::int64_t t = 0; t < steps; ++t, x += 16 * kPitch) {
    std::uint64_t bits[R];
    for (int i = 0; i < R; ++i) {
      std::uint16_t pair;
      __builtin_memcpy(&pair, rows[i].metadata + 2 * t, 2);
      bits[i] = std::uint64_t{pair} << kShift;
    }
#pragma GCC unroll 8
    for (int e = 0; e < kEntries; ++e) {
      for (int i = 0; i < R; ++i) add(i, rows[i].values[kEntries * t + e], bits[i], e);
    }
  }
  if (rest > 0) {
    for (int i = 0; i < R; ++i) {
      const std::uint8_t* bytes = rows[i].metadata + 2 * steps;
      const std::uint64_t low = bytes[0];
      const std::uint64_t high = rest > 8 ? bytes[1] : 0;
      for (int e = 0; e < kEntries; ++e) {
        const std::uint64_t pair = low | high << 8;
        if (e / 2 * 4 + static_cast<std::int64_t>((pair >> (2 * e)) & 3u) >= rest) break;
        add(i, rows[i].values[kEntries * steps + e], pair << kShift, e);
      }
    }
  }
  for (int i = 0; i < R; ++i) {
    for (int v = 0; v < V; ++v) store(sums + i * kStride + v * W, sum[i][v]);
  }
}

template <class Acc, int V>
void wide24_block(const Sparse24View& a, const Wide24Tile<Acc>& tile) {
  constexpr int R = wide24_rows(V);
  constexpr std::int64_t kStride = V * kLanes<Acc>;
  constexpr std::int64_t kMostEntries = kMostWide24Columns / 2;
  constexpr std::int64_t kAhead = R < 4 ? 3 * R : R;  // rows: longer than a fetch takes
  alignas(64) Acc decoded[R][kMostEntries];
  const std::int64_t width = 2 * a.groups(), bytes = a.metadata_bytes_per_row();
  const std::int64_t first = tile.column / 2, item = item_size(a.dtype);
  const std::int64_t entries =
      (tile.columns + 3) / 4 * 2;  // the block ends at a whole group, or the row
  const auto row_of = [&](std::int64_t r, Acc* buffer) -> Wide24Row<Acc> {
    return {decode_values(a.values, a.dtype, r * width + first, entries, buffer),
            a.metadata + r * bytes + tile.column / 8};
  };
  const auto fetch = [&](std::int64_t r) {
    const char* values = static_cast<const char*>(a.values) + (r * width + first) * item;
    for (std::int64_t b = 0; b < entries * item; b += 64) __builtin_prefetch(values + b);
    __builtin_prefetch(a.metadata + r * bytes + tile.column / 8);
  };
  const std::int64_t steps = tile.columns / 16, rest = tile.columns % 16;
  Acc* sums = tile.sums;
  std::int64_t r = tile.row_begin;
  for (; r + R <= tile.row_end; r += R, sums += R * kStride) {
    Wide24Row<Acc> rows[R];
    for (int i = 0; i < R; ++i) rows[i] = row_of(r + i, decoded[i]);
    for (int i = 0; i < R && r + kAhead + i < tile.row_end; ++i) fetch(r + kAhead + i);
    wide24_rows_of<Acc, V, R>(rows, steps, rest, tile.panel, sums, tile.first);
  }
  for (; r < tile.row_end; ++r, sums += kStride) {
    const Wide24Row<Acc> row = row_of(r, decoded[0]);
    wide24_rows_of<Acc, V, 1>(&row, steps, rest, tile.panel, sums, tile.first);
  }
}

template <class Acc>
void sparse24_wide(const Sparse24View& a, const Wide24Tile<Acc>& tile) {
  assert(tile.column % 16 == 0 && tile.columns <= kMostWide24Columns);
  switch (tile.vectors) {
    case 1:
      return wide24_block<Acc, 1>(a, tile);
    case 2:
      return wide24_block<Acc, 2>(a, tile);
    case 3:
      return wide24_block<Acc, 3>(a, tile);
    case 4:
      return wide24_block<Acc, 4>(a, tile);
    case 5:
      return wide24_block<Acc, 5>(a, tile);
    case 6:
      return wide24_block<Acc, 6>(a, tile);
    default:
      assert(tile.vectors <= kWide24Vectors);
      if constexpr (kWide24Vectors == 8) {
        if (tile.vectors == 7) return wide24_block<Acc, 7>(a, tile);
        return wide24_block<Acc, 8>(a, tile);
      }
  }
}

}  // namespace sparsecore::SPARSECORE_TARGET
