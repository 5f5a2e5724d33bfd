// Sampled dense-dense product: d[p] = <u[row], v[column]> for every entry p of A.
//
// Eight entries of a row at once share each vector of u's row: nine loads and eight FMAs a vector
// of columns. Rows of V that a block of A's columns names stay in the first-level cache while 128
// rows of A pass over them. A row's entries are always taken eight by eight from its first, so
// eight of them may reach past their block: no sum depends on the blocks.
// Bytes: nnz * n * sizeof(Acc) of V, from the first level where blocked, and U once a block;
// flops: 2 * nnz * n. Bound by the load ports, and by the sums over lanes where n is small.
// Preconditions: rows of U and V are contiguous; columns < rows of V. Vectors that straddle cache
// lines cost twice: V's rows should be aligned.
#pragma once

#include "../kernels.h"
#include "shuffle.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc, int U>
SPARSECORE_INLINE void dots(const Acc* u, const Acc* const (&v)[U], std::int64_t n,
                            Acc (&result)[U]) {
  constexpr int W = kLanes<Acc>;
  Vec<Acc> sum[U] = {};
  std::int64_t j = 0;
  for (; j + W <= n; j += W) {
    const Vec<Acc> left = load(u + j);
    for (int i = 0; i < U; ++i) sum[i] = fma<Acc>(left, load(v[i] + j), sum[i]);
  }
  if (j < n) {
    const LaneMask<Acc> mask(n - j);
    const Vec<Acc> left = load(u + j, mask);
    for (int i = 0; i < U; ++i) sum[i] = fma<Acc>(left, load(v[i] + j, mask), sum[i]);
  }
  if constexpr (U % 4 == 0) {
    for (int i = 0; i < U; i += 4) reduce_add4<Acc>(sum + i, result + i);
  } else {
    for (int i = 0; i < U; ++i) result[i] = reduce_add<Acc>(sum[i]);
  }
}

// The next U entries of a row.
template <int U, class Acc, class Column>
SPARSECORE_INLINE void sample(const SampledTile<Acc>& tile, const Acc* u, const Column* columns,
                              std::int64_t p) {
  const Acc* rows[U];
  for (int i = 0; i < U; ++i) {
    rows[i] = tile.v + static_cast<std::int64_t>(columns[p + i]) * tile.v_stride;
  }
  Acc result[U];
  dots(u, rows, tile.n, result);
  for (int i = 0; i < U; ++i) tile.d[p + i] = tile.first ? result[i] : tile.d[p + i] + result[i];
}

constexpr int kSampledAtOnce = 8;

// Entries from p on, as many at once as there are, up to the first whose column is `limit` or more;
// returns where that leaves off.
template <class Acc, class Column>
SPARSECORE_INLINE std::int64_t sample_up_to(const SampledTile<Acc>& tile, const Acc* u,
                                            const Column* columns, std::int64_t p, std::int64_t end,
                                            std::int64_t limit) {
  while (p + kSampledAtOnce <= end && static_cast<std::int64_t>(columns[p]) < limit) {
    sample<kSampledAtOnce>(tile, u, columns, p);
    p += kSampledAtOnce;
  }
  return p;
}

template <class Acc>
void sddmm(const CsrView& a, const SampledTile<Acc>& tile) {
  constexpr std::int64_t kRows = 128;
  with_item_size(a.columns.width, [&]<class Column>(Column) {
    const auto* columns = static_cast<const Column*>(a.columns.data);
    std::int64_t next[kRows];
    for (std::int64_t first = tile.row_begin; first < tile.row_end; first += kRows) {
      const std::int64_t rows = tile.row_end - first < kRows ? tile.row_end - first : kRows;
      const Acc* const u = tile.u + first * tile.u_stride;
      for (std::int64_t r = 0; r < rows; ++r) next[r] = a.offsets[first + r];
      for (std::int64_t limit = tile.block_columns; limit < a.cols; limit += tile.block_columns) {
        for (std::int64_t r = 0; r < rows; ++r) {
          next[r] = sample_up_to(tile, u + r * tile.u_stride, columns, next[r],
                                 a.offsets[first + r + 1], limit);
        }
      }
      for (std::int64_t r = 0; r < rows; ++r) {
        const Acc* const u_row = u + r * tile.u_stride;
        const std::int64_t end = a.offsets[first + r + 1];
        std::int64_t p = sample_up_to(tile, u_row, columns, next[r], end, a.cols);
        if (p + 4 <= end) {
          sample<4>(tile, u_row, columns, p);
          p += 4;
        }
        for (; p < end; ++p) sample<1>(tile, u_row, columns, p);
      }
    }
  });
}

}  // namespace sparsecore::SPARSECORE_TARGET
