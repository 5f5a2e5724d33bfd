// Combined sweep: as the packed sweep (packed_sweep.h), for int8 by int8: an item of up to four
// neighbouring entries of a row at once (combined.h).
//
// Why: a lane of 32 bits is multiplied by a whole number in two operations, but by four bytes, or
// two halves of it, in one, which adds the products up, too. So an entry costs less than one
// operation a vector of columns, and a panel holds a quarter (a half) of the bytes: lane j of panel
// row i is rows width * i, ... of column j of X.
// Bytes are multiplied as signed by unsigned: X's are stored 128 too large, and each row's sum
// begins with what that comes to. Sums that fit 32 bits are exact: they wrap on the way, and wrap
// back. Bytes: 6 an item from the second level or memory, once a tile of columns; the sums are read
// and written once a column block. Operations: items * N. Bound by the load ports. Preconditions:
// as packed_sweep.h's.
#pragma once

#include "../kernels.h"
#include "block_sums.h"

namespace sparsecore::SPARSECORE_TARGET {

using Lanes32 = Vec<std::int32_t>;

// sum + x * item in each lane: products of signed 16-bit halves.
struct PairDot {
  static SPARSECORE_INLINE Lanes32 add(Lanes32 sum, Lanes32 x, Lanes32 item) {
    return add_half_products(x, item, sum);
  }
};

// The same for bytes, those of x unsigned.
struct QuadDot {
#if defined(__AVX512F__)
  // The instruction is beyond the target's set, and a product asks whether the processor has it
  // (choose.h): in assembly, as an intrinsic compiles only where the whole kernel may use the set.
  static SPARSECORE_INLINE Lanes32 add(Lanes32 sum, Lanes32 x, Lanes32 item) {
    // NOLINTNEXTLINE(portability-no-assembler)
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(x), "v"(item));
    return sum;
  }
#else
  // For plans that were made while another target was active.
  static SPARSECORE_INLINE Lanes32 add(Lanes32 sum, Lanes32 x, Lanes32 item) {
    using Bits = Vec<std::uint32_t>;
    Bits result = reinterpret_cast<Bits>(sum);  // which may wrap
    for (int i = 0; i < 4; ++i) {
      const Bits byte = (reinterpret_cast<Bits>(x) >> (8 * i)) & 255u;
      const Lanes32 factor =
          reinterpret_cast<Lanes32>(reinterpret_cast<Bits>(item) << (24 - 8 * i)) >> 24;
      result += byte * reinterpret_cast<Bits>(factor);
    }
    return reinterpret_cast<Lanes32>(result);
  }
#endif
};

template <class Dot>
struct CombinedSweep {
  template <class Acc, int kWidth>
  struct Groups {
    static void run(const CombinedTile& tile) {
      using Sums = BlockSums<Acc, kWidth>;
      static_assert(Sums::L == kLanes<Acc>);
      constexpr int kRows = Sums::kRows, V = Sums::V;
      const std::uint16_t* offsets = tile.offsets + tile.first_entry;
      const auto* items = static_cast<const Acc*>(tile.values) + tile.first_entry;
      for (std::int64_t g = 0; g < tile.groups; ++g) {
        const std::int64_t steps = tile.counts[g * kRows];
        if (steps == 0 && !tile.first) return;  // so are all groups after it
        const std::uint16_t* const rows = tile.rows + g * kRows;
        Sums sums;
        sums.load_from(tile, rows);
        if (tile.first) {
          for (int i = 0; i < kRows; ++i) {
            for (int v = 0; v < V; ++v) sums.sum[i][v] = broadcast(tile.first_sums[rows[i]]);
          }
        }
        for (std::int64_t l = 0; l < steps; ++l, items += kRows, offsets += kRows) {
          for (int i = 0; i < kRows; ++i) {
            const Vec<Acc> item = broadcast(items[i]);
            const Acc* const x = tile.panel + Sums::template place<false>(offsets[i]);
            for (int v = 0; v < V; ++v) {
              sums.sum[i][v] = Dot::add(sums.sum[i][v], load(x + v * kLanes<Acc>), item);
            }
          }
        }
        sums.store_to(tile, rows);
      }
    }
  };
};

template <class Dot>
void combined_sweep(const CombinedTile& tile) {
  with_whole_vectors<CombinedSweep<Dot>::template Groups, std::int32_t>(tile);
}

// Some bytes of X side by side, as the sweep reads them.
template <int kWidth>
SPARSECORE_INLINE std::uint32_t combine(const std::int8_t (&bytes)[kWidth]) {
  std::uint32_t lane = 0;
  for (int i = 0; i < kWidth; ++i) {
    lane |= kWidth == 4 ? (static_cast<std::uint32_t>(bytes[i]) & 255u) << (8 * i)
                        : (static_cast<std::uint32_t>(bytes[i]) & 65535u) << (16 * i);
  }
  return kWidth == 4 ? lane ^ 0x80808080u : lane;
}

// to[i * to_stride] = items of the `rows` (1 ... kWidth) bytes at from + i * from_stride,
// row_stride apart, and zeros.
template <int kWidth>
SPARSECORE_INLINE void combine_run(const std::int8_t* __restrict from, std::int64_t from_stride,
                                   std::int64_t row_stride, std::int64_t rows, std::int64_t n,
                                   std::int32_t* __restrict to, std::int64_t to_stride) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::int8_t bytes[kWidth] = {};
    for (int r = 0; r < kWidth && r < rows; ++r) bytes[r] = from[i * from_stride + r * row_stride];
    to[i * to_stride] = static_cast<std::int32_t>(combine(bytes));
  }
}

// panel[i * panel_stride + j] = rows kWidth * i, ... of column j of a block of X.
template <int kWidth>
void load_combined(const MatrixView& x, std::int32_t* panel, std::int64_t panel_stride) {
  const auto* const data = static_cast<const std::int8_t*>(x.data);
  const std::int64_t rs = x.row_stride, cs = x.col_stride, whole = x.rows / kWidth;
  if (rs != 1) {
    for (std::int64_t i = 0; i < whole; ++i) {
      const std::int8_t* const from = data + i * kWidth * rs;
      std::int32_t* const to = panel + i * panel_stride;
      if (cs == 1) {
        combine_run<kWidth>(from, 1, rs, kWidth, x.cols, to, 1);
      } else {
        combine_run<kWidth>(from, cs, rs, kWidth, x.cols, to, 1);
      }
    }
  } else {
    constexpr std::int64_t kLine = 64 / kWidth;  // the items of a cache line
    for (std::int64_t i = 0; i < whole; i += kLine) {
      const std::int64_t n = whole - i < kLine ? whole - i : kLine;
      for (std::int64_t j = 0; j < x.cols; ++j) {
        combine_run<kWidth>(data + i * kWidth + j * cs, kWidth, 1, kWidth, n,
                            panel + i * panel_stride + j, panel_stride);
      }
    }
  }
  const std::int64_t rest = x.rows - whole * kWidth;
  if (rest == 0) return;
  combine_run<kWidth>(data + whole * kWidth * rs, cs, rs, rest, x.cols,
                      panel + whole * panel_stride, 1);
}

#if defined(__AVX512F__)
constexpr int kWidestDot = 4;
#elif defined(__SSE2__)
constexpr int kWidestDot = 2;
#else
constexpr int kWidestDot = 0;
#endif

}  // namespace sparsecore::SPARSECORE_TARGET
