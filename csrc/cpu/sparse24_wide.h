// 2:4 times many columns: sums[row][:] += value * panel[column][:], some rows at a time, for one
// block of columns, straight from the canonical layout.
//
// Layout: `panel` holds the part of X that a column block needs, one row of X after the other, up
// to kWide24Vectors vectors each, at a distance that is a power of two: a column's place is then
// its two bits of metadata, shifted and masked, plus a constant. So an entry costs one load of its
// value and V loads fused with multiply-adds, and none for its index; or a row's four values of two
// groups share one load, and are picked apart in registers. All rows have the same number of
// entries, so nothing needs to be sorted or padded.
// The panel of a block (plans/sparse24.cpp says how wide) stays in the first-level cache while all
// rows of a strip pass over it; the rows' values, a few lines from each of many pages, are fetched
// ahead. Bytes: values and metadata once a tile of columns; sums read and written once a column
// block. Flops: 2 * entries * N. Bound by the load ports: V + 1 loads for V multiply-adds, or V + a
// quarter, two of either a cycle, which is why tiles are wide and rows few.
// Preconditions: the block begins at a multiple of 16 columns; columns beyond the last one are left
// out, though a slot may name them.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "block_sums.h"
#include "entries.h"

namespace sparsecore::SPARSECORE_TARGET {

constexpr int kWide24Vectors = kVectorBytes == 64 ? 8 : 6;

// Rows in flight: as many sums as leave registers for a value and the loads, and at least eight,
// which hide the latency of an addition. Picked values take a register more for each row. (Picked,
// Zen 5, 1024 x 1024: two vectors by 4, 6 and 8 rows 163, 158, 155 GF; three by 4 and 6 163, 150.)
constexpr int wide24_rows_in_flight(int vectors, bool picks) {
  constexpr int kSums = kVectorBytes == 64 ? 18 : 12;
  if (vectors == 1) return picks && kVectorBytes == 32 ? 6 : 8;
  if (picks && kVectorBytes == 32) return 14 / (vectors + 1);
  return picks && vectors <= 3 ? 4 : kSums / vectors;
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

// All rows' values and metadata of a block. Members are inline, always: where GCC 12 has fetch() as
// a function, it takes it for one without effect and leaves the call out.
template <class Acc>
struct Wide24Rows {
  const char* values;
  const std::uint8_t* metadata;
  DType dtype;
  std::int64_t entries, bytes;  // of a row's block
  std::int64_t stride, metadata_stride;

  SPARSECORE_INLINE Wide24Rows(const Sparse24View& a, const Wide24Tile<Acc>& tile)
      : metadata(a.metadata + tile.column / 8),
        dtype(a.dtype),
        entries((tile.columns + 3) / 4 * 2),  // the block ends at a whole group, or the row
        metadata_stride(a.metadata_bytes_per_row()) {
    const std::int64_t item = item_size(dtype);
    values = static_cast<const char*>(a.values) + tile.column / 2 * item;
    stride = 2 * a.groups() * item;
    bytes = entries * item;
  }
  SPARSECORE_INLINE Wide24Row<Acc> row(std::int64_t r, Acc* buffer) const {
    const char* from = values + r * stride;
    const std::uint8_t* bits = metadata + r * metadata_stride;
    if (dtype == DTypeOf<Acc>::value) return {reinterpret_cast<const Acc*>(from), bits};
    return {decode_values(from, dtype, 0, entries, buffer), bits};
  }
  SPARSECORE_INLINE void fetch(std::int64_t r) const {
    const char* from = values + r * stride;
    for (std::int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(from + b);
    __builtin_prefetch(from + bytes - 1);  // rows need not begin where a line does
    __builtin_prefetch(metadata + r * metadata_stride);
  }
};

// The panel of tiles V vectors wide, and what an entry adds to its row's sums.
template <class Acc, int V>
struct Wide24Panel {
  static constexpr int W = kLanes<Acc>;
  static constexpr std::int64_t kStride = V * W;                             // of the sums
  static constexpr int kPitch = round_up_to_power_of_two(V) * kVectorBytes;  // bytes of a row
  static constexpr int kShift = __builtin_ctz(kPitch);
  static constexpr int kEntries = 8;  // of two bytes of metadata, 16 columns

  // Entry e of those of `bits`, two bytes that are shifted by kShift; x: the first row for these.
  static SPARSECORE_INLINE void add(Vec<Acc> (&sum)[V], Vec<Acc> factor, const char* x,
                                    std::uint64_t bits, int e) {
    const auto place = static_cast<std::int64_t>((bits >> (2 * e)) & (std::uint64_t{3} << kShift));
    const Acc* row = reinterpret_cast<const Acc*>(x + e / 2 * 4 * kPitch + place);
    for (int v = 0; v < V; ++v) sum[v] = fma<Acc>(factor, load(row + v * W), sum[v]);
  }
};

// The columns of a row's block, fewer than 16, that follow `steps` times 16. (Not inline: beside a
// loop over some of the entries, sums would not stay in registers.)
template <class Acc, int V>
__attribute__((noinline)) void wide24_rest(const Wide24Row<Acc>& row, std::int64_t steps,
                                           std::int64_t rest, const Acc* panel, Acc* sums) {
  using Panel = Wide24Panel<Acc, V>;
  const char* x = reinterpret_cast<const char*>(panel) + steps * 16 * Panel::kPitch;
  Vec<Acc> sum[V];
  for (int v = 0; v < V; ++v) sum[v] = load(sums + v * Panel::W);
  const std::uint8_t* bytes = row.metadata + 2 * steps;
  const std::uint64_t low = bytes[0];
  const std::uint64_t pair = rest > 8 ? low | std::uint64_t{bytes[1]} << 8 : low;
  for (int e = 0; e < Panel::kEntries; ++e) {
    if (e / 2 * 4 + static_cast<std::int64_t>((pair >> (2 * e)) & 3u) >= rest) break;
    Panel::add(sum, broadcast(row.values[Panel::kEntries * steps + e]), x, pair << Panel::kShift,
               e);
  }
  for (int v = 0; v < V; ++v) store(sums + v * Panel::W, sum[v]);
}

template <class Acc, int V, int R, bool kPicks>
SPARSECORE_INLINE void wide24_rows_of(const Wide24Row<Acc>* rows, std::int64_t steps,
                                      std::int64_t rest, const Wide24Tile<Acc>& tile, Acc* sums) {
  using Panel = Wide24Panel<Acc, V>;
  constexpr int W = Panel::W, kEntries = Panel::kEntries;
  Vec<Acc> sum[R][V];
  for (int i = 0; i < R; ++i) {
    for (int v = 0; v < V; ++v) {
      sum[i][v] = tile.first ? Vec<Acc>{} : load(sums + i * Panel::kStride + v * W);
    }
  }
  const char* x = reinterpret_cast<const char*>(tile.panel);
  for (std::int64_t t = 0; t < steps; ++t, x += 16 * Panel::kPitch) {
    std::uint64_t bits[R];
    for (int i = 0; i < R; ++i) {
      std::uint16_t pair;
      __builtin_memcpy(&pair, rows[i].metadata + 2 * t, 2);
      bits[i] = std::uint64_t{pair} << Panel::kShift;
    }
    if constexpr (kPicks) {
      // Entry by entry, not row by row: a row's sums are to wait for their last additions.
#pragma GCC unroll 2
      for (int e = 0; e < kEntries; e += 4) {
        Vec<Acc> four[R];
        for (int i = 0; i < R; ++i) four[i] = repeat_four<W>(rows[i].values + kEntries * t + e);
        const auto add_each = [&]<int kWhich>(std::integral_constant<int, kWhich> which) {
          for (int i = 0; i < R; ++i) {
            const Vec<Acc> factor = one_of_four_as<which>(four[i], Ascending<W>{});
            Panel::add(sum[i], factor, x, bits[i], e + which);
          }
        };
        add_each(std::integral_constant<int, 0>{});
        add_each(std::integral_constant<int, 1>{});
        add_each(std::integral_constant<int, 2>{});
        add_each(std::integral_constant<int, 3>{});
      }
    } else {
#pragma GCC unroll 8
      for (int e = 0; e < kEntries; ++e) {
        for (int i = 0; i < R; ++i) {
          Panel::add(sum[i], broadcast(rows[i].values[kEntries * t + e]), x, bits[i], e);
        }
      }
    }
  }
  for (int i = 0; i < R; ++i) {
    for (int v = 0; v < V; ++v) store(sums + i * Panel::kStride + v * W, sum[i][v]);
  }
  for (int i = 0; rest > 0 && i < R; ++i) {
    wide24_rest<Acc, V>(rows[i], steps, rest, tile.panel, sums + i * Panel::kStride);
  }
}

template <class Acc, int V, bool kPicks>
void wide24_rows(const Sparse24View& a, const Wide24Tile<Acc>& tile) {
  constexpr int R = wide24_rows_in_flight(V, kPicks);
  constexpr std::int64_t kStride = V * kLanes<Acc>;
  constexpr std::int64_t kMostEntries = kMostWide24Columns / 2;
  // Rows: longer than a fetch takes. (Two vectors, picked, by 4, 8, 12, 16 rows, Zen 5, 4096 x 4096
  // from memory: 133, 148, 150, 147 GF.)
  constexpr std::int64_t kAhead = R < (kPicks ? 5 : 4) ? 3 * R : R;
  alignas(64) Acc decoded[R][kMostEntries];
  const Wide24Rows<Acc> all(a, tile);
  const std::int64_t steps = tile.columns / 16, rest = tile.columns % 16;
  Acc* sums = tile.sums;
  std::int64_t r = tile.row_begin;
  for (; r + R <= tile.row_end; r += R, sums += R * kStride) {
    Wide24Row<Acc> rows[R];
    for (int i = 0; i < R; ++i) rows[i] = all.row(r + i, decoded[i]);
    for (int i = 0; i < R && r + kAhead + i < tile.row_end; ++i) all.fetch(r + kAhead + i);
    wide24_rows_of<Acc, V, R, kPicks>(rows, steps, rest, tile, sums);
  }
  for (; r < tile.row_end; ++r, sums += kStride) {
    const Wide24Row<Acc> row = all.row(r, decoded[0]);
    wide24_rows_of<Acc, V, 1, kPicks>(&row, steps, rest, tile, sums);
  }
}

template <class Acc, int V>
SPARSECORE_INLINE void wide24_block(const Sparse24View& a, const Wide24Tile<Acc>& tile) {
  if constexpr (sizeof(Acc) == 4 && kVectorBytes >= 32) {
    if (tile.picks) return wide24_rows<Acc, V, true>(a, tile);
  }
  wide24_rows<Acc, V, false>(a, tile);
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
