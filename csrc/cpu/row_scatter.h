// Row scatter: y[column][:] += value * x[row][:] over the entries of A, row by row: the product
// with the transposed matrix, without transposing it.
//
// Per entry and vector: two loads, one FMA, one store, so about half the speed of a row sweep; no
// second copy of A. The caller gives each thread its own columns of Y, hence no write is shared
// and the order of additions, so the result, does not depend on the number of threads.
// Preconditions: Y is initialised; columns < rows of Y.
#pragma once

#include <cassert>

#include "../kernels.h"
#include "entries.h"
#include "row_sweep.h"

namespace sparsecore::SPARSECORE_TARGET {

template <class Acc, int V, bool kPartial>
void scatter_rows(const CsrEntries& entries, const SweepTile<Acc>& tile) {
  constexpr int W = kLanes<Acc>;
  const LaneMask<Acc> mask(tile.n - (V - 1) * W);
  const auto load_row = [&](const Acc* p, int v) {
    return kPartial && v == V - 1 ? load(p + v * W, mask) : load(p + v * W);
  };
  for_each_piece<Acc>(entries, tile.row_begin, tile.row_end,
                      [&](std::int64_t row, const Acc* values, const std::uint32_t* columns,
                          std::int64_t count, bool) {
                        const Acc* x_row = tile.x + (row - tile.row_begin) * tile.x_stride;
                        Vec<Acc> x[V];
                        for (int v = 0; v < V; ++v) x[v] = load_row(x_row, v);
                        for (std::int64_t t = 0; t < count; ++t) {
                          const Vec<Acc> value = broadcast(values[t]);
                          Acc* y = tile.y + static_cast<std::int64_t>(columns[t]) * tile.y_stride;
                          for (int v = 0; v < V; ++v) {
                            const Vec<Acc> sum = fma<Acc>(value, x[v], load_row(y, v));
                            if (kPartial && v == V - 1) {
                              store(y + v * W, sum, mask);
                            } else {
                              store(y + v * W, sum);
                            }
                          }
                        }
                      });
}

// y[0 ... N) += value * x[0 ... N), in pieces of 8, 4, 2 and 1.
template <class Acc, int N>
SPARSECORE_INLINE void add_scaled(Acc* y, Acc value, const Acc* x) {
  constexpr int P = N >= 8 ? 8 : N >= 4 ? 4 : N >= 2 ? 2 : 1;
  if constexpr (P == 1) {
    *y += value * *x;
  } else {
    typedef Acc Piece
        __attribute__((vector_size(P * sizeof(Acc)), aligned(sizeof(Acc)), may_alias));
    Piece& sum = *reinterpret_cast<Piece*>(y);
    sum += value * *reinterpret_cast<const Piece*>(x);
  }
  if constexpr (N > P) add_scaled<Acc, N - P>(y + P, value, x + P);
}

// Up to eight columns, their number known to the compiler: rows of Y may then lie side by side
// without the masked loads and stores, which stall when a load spans the store before it.
template <class Acc, int N>
void scatter_rows_narrow(const CsrEntries& entries, const SweepTile<Acc>& tile) {
  for_each_piece<Acc>(entries, tile.row_begin, tile.row_end,
                      [&](std::int64_t row, const Acc* values, const std::uint32_t* columns,
                          std::int64_t count, bool) {
                        const Acc* x_row = tile.x + (row - tile.row_begin) * tile.x_stride;
                        Acc x[N];
                        for (int j = 0; j < N; ++j) x[j] = x_row[j];
                        for (std::int64_t t = 0; t < count; ++t) {
                          Acc* y = tile.y + static_cast<std::int64_t>(columns[t]) * tile.y_stride;
                          add_scaled<Acc, N>(y, values[t], x);
                        }
                      });
}

template <class Acc>
struct RowScatter {
  template <int V, bool kPartial>
  struct Shape {
    static SPARSECORE_INLINE void run(const CsrEntries& entries, const SweepTile<Acc>& tile) {
      scatter_rows<Acc, V, kPartial>(entries, tile);
    }
  };
};

template <class Acc>
void csr_scatter(const CsrView& a, const SweepTile<Acc>& tile) {
  assert(tile.n >= 1 && tile.n <= kTileVectors * kLanes<Acc>);
  const CsrEntries entries{a};
#define SPARSECORE_CASE(N) \
  case N:                  \
    return scatter_rows_narrow<Acc, N>(entries, tile)
  switch (tile.n) {
    SPARSECORE_CASE(1);
    SPARSECORE_CASE(2);
    SPARSECORE_CASE(3);
    SPARSECORE_CASE(4);
    SPARSECORE_CASE(5);
    SPARSECORE_CASE(6);
    SPARSECORE_CASE(7);
    SPARSECORE_CASE(8);
    default:
      return with_tile_shape<RowScatter<Acc>::template Shape, Acc>(tile.n, entries, tile);
  }
#undef SPARSECORE_CASE
}

}  // namespace sparsecore::SPARSECORE_TARGET
