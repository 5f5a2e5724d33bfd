// Packed sweep: sums[row][:] += value * panel[offset][:], four rows at a time, for one block of
// rows and of columns (packed.h has the layout).
//
// Why: a row sweep streams the rows of X that it needs through the second-level cache, which gives
// one vector in two cycles at best, where the arithmetic units take two a cycle. Here the part of X
// that a column block needs (block_columns + 1 rows of up to four vectors) stays in the first level
// while every group of rows passes over it. Four rows by V vectors of sums lie in registers; an
// entry costs one load of its value, one of its offset, and V loads fused with multiply-adds; or
// four entries share one load of each, and values and offsets are picked apart in registers.
// Bytes: 6 an fp32 entry from the second level or memory, once a tile of columns; the sums are read
// and written once a column block. Flops: 2 * entries * N. Bound by the load ports.
// Padding multiplies zero with a row of zeros or, where the panel has none, with the first row of
// X. That adds nothing, unless X holds Inf or NaN there: then padding is left out, at the cost of a
// branch for each row.
// Preconditions: sums have room for the rows that fill up the last group, or there are none.
#pragma once

#include "block_sums.h"
#include "entries.h"
#include "fetch.h"

namespace sparsecore::SPARSECORE_TARGET {

// kPicks: values and offsets are loaded four at a time. Where an entry takes one or two
// multiplications, loading its value and offset one by one costs as much as those; where it takes
// more, it depends on the processor (choose.h).
template <class Acc, int kWidth, bool kPicks, bool kInPlace>
struct PackedGroups {
  using Sums = BlockSums<Acc, kWidth>;
  static constexpr int kRows = Sums::kRows;
  static constexpr std::int64_t kDecodedSteps = 256;

  static void run(const PackedTile<Acc>& tile) {
    if constexpr (kMayPart) {
      if (tile.odd_apart) return run_as<true>(tile);
    }
    run_as<false>(tile);
  }

 private:
  static constexpr bool kMayPart = std::int64_t{sizeof(Acc)} * kWidth <= kBytesApart;

  template <bool kOddApart>
  static SPARSECORE_INLINE void run_as(const PackedTile<Acc>& tile) {
    if (tile.padding_is_zero || is_finite_row(tile.panel)) {
      add_groups<false, kOddApart>(tile);
    } else {
      add_groups<true, kOddApart>(tile);
    }
  }

  static SPARSECORE_INLINE bool is_finite_row(const Acc* x) {
    typename Sums::Lanes gaps{};  // of x from itself: zero, or NaN
    for (int v = 0; v < Sums::V; ++v) {
      const auto some = load_lanes<Sums::L, Acc>(x + v * Sums::L);
      gaps += some - some;
    }
    if constexpr (Sums::L == kLanes<Acc>) {
      return reduce_add<Acc>(gaps) == 0;
    } else {
      Acc gap = 0;
      for (int l = 0; l < Sums::L; ++l) gap += gaps[l];
      return gap == 0;
    }
  }

  template <bool kExact, bool kOddApart>
  static SPARSECORE_INLINE void add_groups(PackedTile<Acc> tile) {
    alignas(64) Acc decoded[kRows * kDecodedSteps];
    for (std::int64_t g = 0; g < tile.groups; ++g) {
      const std::uint16_t *const counts = tile.counts + g * kRows, *rows = tile.rows + g * kRows;
      // So are all groups after it.
      if (counts[0] == 0 && !tile.first && tile.finish == nullptr) return;
      Sums sums;
      sums.load_from(tile, rows);
      add_group<kExact, kOddApart>(tile, counts, decoded, sums);
      if (tile.finish != nullptr) {
        sums.finish_to(*tile.finish, tile.columns, rows);
      } else {
        sums.store_to(tile, rows);
      }
      tile.first_entry += kRows * std::int64_t{counts[0]};
    }
  }

  // With kExact, padding is left out. Either way adds in the same order.
  template <bool kExact, bool kOddApart>
  static SPARSECORE_INLINE void add_group(const PackedTile<Acc>& tile, const std::uint16_t* counts,
                                          Acc* decoded, Sums& sums) {
    const std::int64_t steps = counts[0];
    if (tile.dtype == DTypeOf<Acc>::value) {
      const Acc* const values = static_cast<const Acc*>(tile.values) + tile.first_entry;
      return add_steps<kExact, kOddApart>(tile, counts, 0, steps, values, sums);
    }
    for (std::int64_t begin = 0; begin < steps; begin += kDecodedSteps) {
      const std::int64_t end = begin + kDecodedSteps < steps ? begin + kDecodedSteps : steps;
      load_values(tile.values, tile.dtype, tile.first_entry + begin * kRows, (end - begin) * kRows,
                  decoded);
      add_steps<kExact, kOddApart>(tile, counts, begin, end, decoded, sums);
    }
  }

  // Four vectors of sums are too few to keep two additions a cycle in flight where a load takes
  // less than one: the odd steps get sums of their own. (Entries are fetched ahead: 4096 x 1024,
  // 50 %, N = 128, Zen 5: 158 GF against 128.)
  template <bool kExact, bool kOddApart>
  static SPARSECORE_INLINE void add_steps(const PackedTile<Acc>& tile, const std::uint16_t* counts,
                                          std::int64_t begin, std::int64_t end, const Acc* values,
                                          Sums& sums) {
    const std::uint16_t* const offsets = tile.offsets + tile.first_entry;
    const auto step = [&](std::int64_t l, Sums& to) {
      const Acc* const four = values + (l - begin) * kRows;
      if (kExact && l >= counts[kRows - 1]) {
        to.template add_some<kInPlace>(four, offsets + l * kRows, tile.panel,
                                       [&](int i) { return l < counts[i]; });
      } else {
        to.template add_four<kPicks, kInPlace>(four, offsets + l * kRows, tile.panel);
      }
    };
    constexpr int kUnrolled = kWidth <= 2 * kLanes<Acc> ? 4 : 2;
    Sums odd{};
    std::int64_t l = begin;
    for (; l + kUnrolled <= end; l += kUnrolled) {
      fetch_ahead(values + (l - begin) * kRows);
      fetch_ahead(offsets + l * kRows);
#pragma GCC unroll 4
      for (int u = 0; u < kUnrolled; ++u) step(l + u, kOddApart && u % 2 == 1 ? odd : sums);
    }
    for (; l < end; ++l) step(l, sums);
    if constexpr (kOddApart) sums.add(odd);
  }
};

template <class Acc, int kWidth>
using PickedGroups = PackedGroups<Acc, kWidth, true, false>;
template <class Acc, int kWidth>
using SingleGroups = PackedGroups<Acc, kWidth, false, false>;
template <class Acc, int kWidth>
using PickedInPlace = PackedGroups<Acc, kWidth, true, true>;
template <class Acc, int kWidth>
using SingleInPlace = PackedGroups<Acc, kWidth, false, true>;

template <class Acc>
void packed_sweep(const PackedTile<Acc>& tile) {
  if constexpr (sizeof(Acc) == 4 && kVectorBytes >= 32) {
    if (tile.picks || tile.width <= 2 * kLanes<Acc>) {
      return tile.in_place ? with_whole_vectors<PickedInPlace, Acc>(tile)
                           : with_width<PickedGroups, Acc>(tile);
    }
  }
  return tile.in_place ? with_whole_vectors<SingleInPlace, Acc>(tile)
                       : with_width<SingleGroups, Acc>(tile);
}

}  // namespace sparsecore::SPARSECORE_TARGET
