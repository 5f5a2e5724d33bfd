// Row sweep: y[r][:] = sum over the entries of row r of value * x[column][:].
//
// Layout: one row of A at a time, a tile of up to eight vectors of right-hand columns held in
// registers for the whole row, so Y is written once and A is read once a tile; the rows of X that
// the entries name are streamed from L1/L2. Per entry and vector: one load, one FMA; per entry:
// one broadcast, one column load, one address multiplication.
// Bytes: nnz * (value + column) a tile, nnz * N * sizeof(Acc) of cached X, M * N of Y; flops:
// 2 * nnz * N. Bound by the load ports (two loads a cycle), not by the FMA units.
// Preconditions: columns < rows of X; x_stride == 1 where n == 1.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "entries.h"
#include "row_dot.h"

namespace sparsecore::SPARSECORE_TARGET {

constexpr int kTileVectors = 8;

// Entries in flight at once, so that narrow tiles have enough independent additions to hide the
// latency of one (4 cycles, 2 a cycle).
constexpr int entries_in_flight(int vectors) { return vectors == 1 ? 4 : vectors <= 3 ? 2 : 1; }

template <class Acc, int V, bool kPartial>
SPARSECORE_INLINE void sweep_row(const Acc* values, const std::uint32_t* columns,
                                 std::int64_t count, const Acc* x, std::int64_t x_stride, Acc* y,
                                 std::int64_t n, bool accumulate) {
  constexpr int W = kLanes<Acc>, U = entries_in_flight(V);
  const LaneMask<Acc> mask(n - (V - 1) * W);  // lanes of the last vector; read only if kPartial
  const auto load_row = [&](const Acc* p, int v) {
    return kPartial && v == V - 1 ? load(p + v * W, mask) : load(p + v * W);
  };
  Vec<Acc> sum[U][V];
  for (int v = 0; v < V; ++v) {
    sum[0][v] = accumulate ? load_row(y, v) : Vec<Acc>{};
    for (int u = 1; u < U; ++u) sum[u][v] = Vec<Acc>{};
  }
  std::int64_t t = 0;
  for (; t + U <= count; t += U) {
    for (int u = 0; u < U; ++u) {
      const Vec<Acc> value = broadcast(values[t + u]);
      const Acc* row = x + static_cast<std::int64_t>(columns[t + u]) * x_stride;
      for (int v = 0; v < V; ++v) sum[u][v] = fma<Acc>(value, load_row(row, v), sum[u][v]);
    }
  }
  for (; t < count; ++t) {
    const Vec<Acc> value = broadcast(values[t]);
    const Acc* row = x + static_cast<std::int64_t>(columns[t]) * x_stride;
    for (int v = 0; v < V; ++v) sum[0][v] = fma<Acc>(value, load_row(row, v), sum[0][v]);
  }
  for (int v = 0; v < V; ++v) {
    for (int u = 1; u < U; ++u) sum[0][v] += sum[u][v];
    if (kPartial && v == V - 1) {
      store(y + v * W, sum[0][v], mask);
    } else {
      store(y + v * W, sum[0][v]);
    }
  }
}

// One right-hand column: entries fill the lanes, x is gathered. The masked last step takes any
// remainder, so that rows of differing lengths do not mean differing branches.
template <class Acc>
SPARSECORE_INLINE Acc dot_piece(const Acc* values, const std::uint32_t* columns, std::int64_t count,
                                const Acc* x) {
  constexpr int W = kLanes<Acc>;
  Vec<Acc> even = {}, odd = {};
  std::int64_t t = 0;
  for (; t + 2 * W <= count; t += 2 * W) {
    even = fma<Acc>(load(values + t), gather(x, columns + t), even);
    odd = fma<Acc>(load(values + t + W), gather(x, columns + t + W), odd);
  }
  if (t + W <= count) {
    even = fma<Acc>(load(values + t), gather(x, columns + t), even);
    t += W;
  }
  const LaneMask<Acc> rest(count - t);
  odd = fma<Acc>(load(values + t, rest), gather(x, columns + t, rest), odd);
  return reduce_add<Acc>(even + odd);
}

// For columns from 2^31 on, which gather() cannot take.
template <class Acc>
SPARSECORE_INLINE Acc dot_row_scalar(const Acc* values, const std::uint32_t* columns,
                                     std::int64_t count, const Acc* x) {
  Acc sum = 0;
  for (std::int64_t t = 0; t < count; ++t) sum += values[t] * x[columns[t]];
  return sum;
}

template <class Acc, class Entries>
SPARSECORE_INLINE void sweep_rows_dot(const Entries& entries, const SweepTile<Acc>& tile) {
  const bool gather_is_safe = entries.a.cols <= INT32_MAX;
  for_each_piece<Acc>(entries, tile.row_begin, tile.row_end,
                      [&](std::int64_t row, const Acc* values, const std::uint32_t* columns,
                          std::int64_t count, bool is_first) {
                        const Acc sum = gather_is_safe
                                            ? dot_piece(values, columns, count, tile.x)
                                            : dot_row_scalar(values, columns, count, tile.x);
                        Acc& y = tile.y[(row - tile.row_begin) * tile.y_stride];
                        y = is_first ? sum : y + sum;
                      });
}

template <class Acc, int V, bool kPartial, class Entries>
void sweep_rows(const Entries& entries, const SweepTile<Acc>& tile) {
  for_each_piece<Acc>(entries, tile.row_begin, tile.row_end,
                      [&](std::int64_t row, const Acc* values, const std::uint32_t* columns,
                          std::int64_t count, bool is_first) {
                        sweep_row<Acc, V, kPartial>(values, columns, count, tile.x, tile.x_stride,
                                                    tile.y + (row - tile.row_begin) * tile.y_stride,
                                                    tile.n, !is_first);
                      });
}

// Exactly N columns, fewer than a vector's lanes, in a vector of their own width: masked loads of
// whole vectors cross cache lines that N columns do not (1024 x 1024, 90 %, N = 4: 72 us; so: 50).
template <class Acc, int N>
SPARSECORE_INLINE void sweep_row_exactly(const Acc* values, const std::uint32_t* columns,
                                         std::int64_t count, const Acc* x, std::int64_t x_stride,
                                         Acc* y, bool accumulate) {
  using Narrow = typename LanesOf<N, Acc>::type;
  constexpr int U = 4;
  const auto product = [&](std::int64_t t) -> Narrow {
    return values[t] * load_lanes<N, Acc>(x + static_cast<std::int64_t>(columns[t]) * x_stride);
  };
  Narrow sum[U] = {};
  if (accumulate) sum[0] = load_lanes<N, Acc>(y);
  std::int64_t t = 0;
  for (; t + U <= count; t += U) {
    for (int u = 0; u < U; ++u) sum[u] += product(t + u);
  }
  for (; t < count; ++t) sum[0] += product(t);
  const Narrow total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  for (int j = 0; j < N; ++j) y[j] = total[j];
}

template <class Acc, int N, class Entries>
void sweep_rows_exactly(const Entries& entries, const SweepTile<Acc>& tile) {
  for_each_piece<Acc>(entries, tile.row_begin, tile.row_end,
                      [&](std::int64_t row, const Acc* values, const std::uint32_t* columns,
                          std::int64_t count, bool is_first) {
                        sweep_row_exactly<Acc, N>(values, columns, count, tile.x, tile.x_stride,
                                                  tile.y + (row - tile.row_begin) * tile.y_stride,
                                                  !is_first);
                      });
}

// Picks the instantiation for a tile of n columns: V vectors, the last of them partial or not.
template <template <int, bool> class Run, class Acc, class... Args>
SPARSECORE_INLINE void with_tile_shape(std::int64_t n, const Args&... args) {
  const std::int64_t vectors = (n + kLanes<Acc> - 1) / kLanes<Acc>;
  const bool partial = n % kLanes<Acc> != 0;
#define SPARSECORE_CASE(V) \
  case V:                  \
    return partial ? Run<V, true>::run(args...) : Run<V, false>::run(args...)
  switch (vectors) {
    SPARSECORE_CASE(1);
    SPARSECORE_CASE(2);
    SPARSECORE_CASE(3);
    SPARSECORE_CASE(4);
    SPARSECORE_CASE(5);
    SPARSECORE_CASE(6);
    SPARSECORE_CASE(7);
    SPARSECORE_CASE(8);
    default:
      return;
  }
#undef SPARSECORE_CASE
}

template <class Acc, class Entries>
struct RowSweep {
  template <int V, bool kPartial>
  struct Shape {
    static SPARSECORE_INLINE void run(const Entries& entries, const SweepTile<Acc>& tile) {
      sweep_rows<Acc, V, kPartial>(entries, tile);
    }
  };
  static SPARSECORE_INLINE void run(const Entries& entries, const SweepTile<Acc>& tile) {
    assert(tile.n >= 1 && tile.n <= kTileVectors * kLanes<Acc>);
    if (tile.n == 1) {
      assert(tile.x_stride == 1);
      return sweep_rows_dot(entries, tile);
    }
    if constexpr (kLanes<Acc> > 8) {
      if (tile.n == 8) return sweep_rows_exactly<Acc, 8>(entries, tile);
    }
    if constexpr (kLanes<Acc> > 4) {
      if (tile.n == 4) return sweep_rows_exactly<Acc, 4>(entries, tile);
    }
    with_tile_shape<Shape, Acc>(tile.n, entries, tile);
  }
};

template <class Acc>
void csr_sweep(const CsrView& a, const SweepTile<Acc>& tile) {
  if (tile.n == 1 && can_dot_rows<Acc>(a)) return csr_dot(a, tile);
  RowSweep<Acc, CsrEntries>::run(CsrEntries{a}, tile);
}

template <class Acc>
void sparse24_sweep(const Sparse24View& a, const SweepTile<Acc>& tile) {
  RowSweep<Acc, Sparse24Entries>::run(Sparse24Entries{a}, tile);
}

}  // namespace sparsecore::SPARSECORE_TARGET
