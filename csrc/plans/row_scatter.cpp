#include "row_scatter.h"

#include <algorithm>
#include <cstring>

#include "../choose.h"
#include "accumulate.h"

namespace sparsecore {
namespace {

constexpr std::int64_t kPanelRows = 64;  // rows of X at a time: converted, and between polls

// The scratch columns of the result are kept within this, half a usual second-level cache.
constexpr std::int64_t kScratchBytes = 256 << 10;

template <class Acc>
void zero(const SweepTile<Acc>& tile, std::int64_t rows) {
  for (std::int64_t r = 0; r < rows; ++r) {
    std::fill_n(tile.y + r * tile.y_stride, tile.n, Acc{0});
  }
}

// Columns [col, col + n) of the result, by one thread. tile.y is zeroed, then added to.
template <class Acc>
void scatter_columns(const Kernels<Acc>& k, const CsrView& a, const MatrixView& x,
                     SweepTile<Acc> tile, std::int64_t col) {
  zero(tile, a.cols);
  const bool in_place = x.dtype == DTypeOf<Acc>::value && (x.col_stride == 1 || tile.n == 1);
  const Scratch<Acc> panel(in_place ? 0 : kPanelRows * tile.n);
  for (std::int64_t r = 0; r < a.rows; r += kPanelRows) {
    poll();
    tile.row_begin = r;
    tile.row_end = std::min(r + kPanelRows, a.rows);
    const MatrixView rows = block_of(x, r, tile.row_end - r, col, tile.n);
    if (in_place) {
      tile.x = static_cast<const Acc*>(rows.data);
      tile.x_stride = rows.row_stride;
    } else {
      k.load_panel(rows, panel.data(), tile.n);
      tile.x = panel.data();
      tile.x_stride = tile.n;
    }
    k.csr_scatter(a, tile);
  }
}

template <class Acc>
bool write_columns(const Kernels<Acc>& k, const SweepTile<Acc>& tile, std::int64_t col,
                   const Epilogue& epilogue, const MatrixView& out) {
  const EpilogueLoader<Acc> loaded(k, epilogue);
  bool fits = true;
  for (std::int64_t r = 0; r < out.rows; r += kBlockRows) {
    const std::int64_t rows = std::min(kBlockRows, out.rows - r);
    fits &= k.write_out(tile.y + r * tile.y_stride, tile.y_stride, r, col, loaded.view(),
                        block_of(out, r, rows, col, tile.n));
  }
  return fits;
}

template <class Acc>
void run(const CsrView& a, const MatrixView& x, const Epilogue& epilogue, const MatrixView& out,
         int threads) {
  const Kernels<Acc>& k = kernels<Acc>();
  const std::int64_t lanes = k.lanes;
  const bool direct = epilogue.empty() && !needs_scratch(out, DTypeOf<Acc>::value, a.nnz());
  const int useful = useful_threads(threads, product_ns(a.nnz(), a.rows + a.cols, x.cols));

  std::int64_t width = k.tile_width;
  if (!direct) {
    const std::int64_t fitting =
        kScratchBytes / static_cast<std::int64_t>(sizeof(Acc)) / std::max<std::int64_t>(a.cols, 1);
    width = std::clamp(fitting, lanes, width);
  }
  const std::int64_t share = (x.cols + useful - 1) / useful;
  width = std::clamp((share + lanes - 1) / lanes * lanes, lanes, width);

  Bounds bounds;
  for (std::int64_t col = 0; col < x.cols; col += width) bounds.push_back(col);
  bounds.push_back(x.cols);
  parallel_for(bounds, useful, [&](std::int64_t begin, std::int64_t end) {
    SweepTile<Acc> tile{};
    tile.n = end - begin;
    if (direct) {
      tile.y = static_cast<Acc*>(block_of(out, 0, out.rows, begin, tile.n).data);
      tile.y_stride = out.row_stride;
      return scatter_columns(k, a, x, tile, begin);
    }
    // Rows of whole vectors, so that none of them shares a cache line with its neighbour's mask.
    tile.y_stride = tile.n <= 8 ? tile.n : (tile.n + lanes - 1) / lanes * lanes;
    const Scratch<Acc> sums(out.rows * tile.y_stride);
    tile.y = sums.data();
    scatter_columns(k, a, x, tile, begin);
    require_fits(write_columns(k, tile, begin, epilogue, out));
  });
}

}  // namespace

void row_scatter(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                 const MatrixView& out, int threads) {
  with_accumulator(accumulator_for(a.dtype, x.dtype, a.rows),
                   [&]<class Acc>(Acc) { run<Acc>(a, x, epilogue, out, threads); });
}

}  // namespace sparsecore
