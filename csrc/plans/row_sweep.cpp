#include "row_sweep.h"

#include <algorithm>

#include "../choose.h"
#include "accumulate.h"

namespace sparsecore {
namespace {

constexpr std::int64_t kWidestTile = 128;  // AVX-512: 8 vectors of 16

template <class Acc>
void sweep(const Kernels<Acc>& k, const CsrView& a, const SweepTile<Acc>& tile) {
  k.csr_sweep(a, tile);
}
template <class Acc>
void sweep(const Kernels<Acc>& k, const Sparse24View& a, const SweepTile<Acc>& tile) {
  k.sparse24_sweep(a, tile);
}

std::int64_t longest_row(const CsrView& a) { return longest_row(a.offsets); }
std::int64_t longest_row(const Sparse24View& a) { return 2 * a.groups(); }

Bounds row_bounds(const CsrView& a, int threads, double ns) {
  return balanced_bounds(a.offsets, threads, ns);
}
Bounds row_bounds(const Sparse24View& a, int threads, double ns) {
  return even_bounds(a.rows, threads, ns);
}

// One tile of columns [col, col + n) of the result, for rows [begin, end). `x` are those columns
// of the right side, in the accumulator type.
template <class Acc, class View>
void sweep_rows(const Kernels<Acc>& k, const View& a, SweepTile<Acc> tile, std::int64_t begin,
                std::int64_t end, std::int64_t col, const LoadedEpilogue<Acc>& epilogue,
                bool direct, const MatrixView& out) {
  if (direct) {
    const MatrixView target = block_of(out, begin, end - begin, col, tile.n);
    tile.row_begin = begin;
    tile.row_end = end;
    tile.y = static_cast<Acc*>(target.data);
    tile.y_stride = target.row_stride;
    return sweep(k, a, tile);
  }
  alignas(64) Acc block[kBlockRows * kWidestTile];
  tile.y = block;
  tile.y_stride = tile.n == 1 ? 1 : kWidestTile;
  bool fits = true;
  for (std::int64_t r = begin; r < end; r += kBlockRows) {
    tile.row_begin = r;
    tile.row_end = std::min(r + kBlockRows, end);
    sweep(k, a, tile);
    fits &= k.write_out(block, tile.y_stride, r, col, epilogue,
                        block_of(out, r, tile.row_end - r, col, tile.n));
  }
  require_fits(fits);
}

template <class Acc, class View>
void run(const View& a, const MatrixView& x, const Epilogue& epilogue, const MatrixView& out,
         int threads) {
  const Kernels<Acc>& k = kernels<Acc>();
  const std::int64_t tile_width = k.tile_width;
  const bool panel_needed = needs_panel(x, DTypeOf<Acc>::value, a.nnz(), tile_width);
  const bool direct = epilogue.empty() && out.dtype == DTypeOf<Acc>::value &&
                      (out.col_stride == 1 || out.cols == 1);
  const EpilogueLoader<Acc> loaded(k, epilogue);
  const Gathers gathers = best_gathers();
  // A single column is gathered from, which wants it contiguous.
  const auto is_copied = [&](std::int64_t n) {
    return panel_needed || (n == 1 && x.row_stride != 1);
  };
  const std::int64_t widest = std::min(tile_width, x.cols);
  const std::int64_t copy_size = panel_needed                     ? x.rows * widest
                                 : is_copied(x.cols % tile_width) ? x.rows
                                                                  : 0;
  const double ns_of_widest = product_ns(a.nnz(), a.rows, widest);
  const bool shared = copy_size * static_cast<std::int64_t>(sizeof(Acc)) > kOwnCopyBytes ||
                      copy_ns(copy_size) > ns_of_widest;
  PanelCopies<Acc> copies(copy_size, shared ? 1 : useful_threads(threads, ns_of_widest));

  for (std::int64_t col = 0; col < x.cols; col += tile_width) {
    const std::int64_t n = std::min(tile_width, x.cols - col);
    const MatrixView columns = block_of(x, 0, x.rows, col, n);
    if (shared && is_copied(n)) load_panel_parallel(k, columns, copies.data(), n, threads);
    const double ns = product_ns(a.nnz(), a.rows, n);
    const int useful = useful_threads(threads, ns);
    const auto bounds = [&] { return row_bounds(a, useful, ns); };
    parallel_for(a.rows, useful, ns, bounds, [&](std::int64_t begin, std::int64_t end) {
      SweepTile<Acc> tile{};
      tile.n = n;
      tile.x = static_cast<const Acc*>(columns.data);
      tile.x_stride = columns.row_stride;
      tile.gathers = gathers;
      if (is_copied(n)) {
        tile.x = shared ? copies.data()
                        : copies.get(col, [&](Acc* room) { k.load_panel(columns, room, n); });
        tile.x_stride = n;
      }
      sweep_rows(k, a, tile, begin, end, col, loaded.view(), direct, out);
    });
  }
}

template <class View>
void row_sweep_any(const View& a, const MatrixView& x, const Epilogue& epilogue,
                   const MatrixView& out, int threads) {
  const bool integers = a.dtype == DType::kInt8 && x.dtype == DType::kInt8;
  with_accumulator(accumulator_for(a.dtype, x.dtype, integers ? longest_row(a) : 0),
                   [&]<class Acc>(Acc) { run<Acc>(a, x, epilogue, out, threads); });
}

}  // namespace

void row_sweep(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
               const MatrixView& out, int threads) {
  row_sweep_any(a, x, epilogue, out, threads);
}

void row_sweep(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
               const MatrixView& out, int threads) {
  row_sweep_any(a, x, epilogue, out, threads);
}

}  // namespace sparsecore
