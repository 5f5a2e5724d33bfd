#include "sddmm.h"

#include <algorithm>

#include "../choose.h"
#include "accumulate.h"

namespace sparsecore {
namespace {

// A sampled product takes so many columns of U and V at a time, and in each block so many of A's:
// rows of V.
struct Blocking {
  std::int64_t width, block_columns;
};

// Rows of V in the first-level cache, where 32 KB of them serve a row of A often enough
// (1024 x 1024, fp32, N = 128, 64-byte vectors, in GFLOP/s, against V in the second level: 90
// against 62 at 50 %, 82 against 66 at 80 %, the same at 90 %). Else so many columns of V that it
// stays in the second.
template <class Acc>
Blocking blocking(const CsrView& a, std::int64_t columns) {
  constexpr std::int64_t kItem = sizeof(Acc), kBlockBytes = 32 << 10, kRowBytes = 1 << 10;
  constexpr std::int64_t kCacheBytes = 1 << 20;
  constexpr double kEntriesOfBlockRow = 6;
  const std::int64_t width = std::clamp<std::int64_t>(columns, 1, kRowBytes / kItem);
  const std::int64_t block = std::max<std::int64_t>(kBlockBytes / (width * kItem), 1);
  const double cells = static_cast<double>(a.rows) * static_cast<double>(a.cols);
  if (static_cast<double>(a.nnz() * block) >= kEntriesOfBlockRow * cells) return {width, block};
  const std::int64_t v_rows = std::max<std::int64_t>(a.cols, 1);
  return {std::clamp<std::int64_t>(kCacheBytes / kItem / v_rows / 64 * 64, 64, 512), v_rows};
}

// Whether the kernel can read rows of `m`: contiguous, in the accumulator type.
template <class Acc>
bool is_readable(const MatrixView& m) {
  return m.dtype == DTypeOf<Acc>::value && m.col_stride == 1;
}

template <class Acc>
struct Operand {
  const MatrixView& m;
  Scratch<Acc> panel;
  bool direct;

  Operand(const MatrixView& matrix, std::int64_t width, bool in_place)
      : m(matrix), panel(in_place ? 0 : matrix.rows * width), direct(in_place) {}

  // Columns [col, col + n) and the distance between their rows.
  std::pair<const Acc*, std::int64_t> columns(const Kernels<Acc>& k, std::int64_t col,
                                              std::int64_t n, int threads) const {
    const MatrixView block = block_of(m, 0, m.rows, col, n);
    if (direct) return {static_cast<const Acc*>(block.data), m.row_stride};
    load_panel_parallel(k, block, panel.data(), n, threads);
    return {panel.data(), n};
  }
};

template <class Acc>
void run(const CsrView& a, const MatrixView& u, const MatrixView& v, void* d, DType d_dtype,
         int threads) {
  const Kernels<Acc>& k = kernels<Acc>();
  const auto [width, block_columns] = blocking<Acc>(a, u.cols);
  const Operand<Acc> left(u, width, is_readable<Acc>(u));
  const Operand<Acc> right(v, width, !needs_panel(v, DTypeOf<Acc>::value, a.nnz(), width));
  const bool direct = d_dtype == DTypeOf<Acc>::value;
  const Scratch<Acc> scratch(direct ? 0 : a.nnz());
  Acc* sums = direct ? static_cast<Acc*>(d) : scratch.data();
  if (u.cols == 0) std::fill_n(sums, a.nnz(), Acc{0});

  for (std::int64_t col = 0; col < u.cols; col += width) {
    const std::int64_t n = std::min(width, u.cols - col);
    const auto [u_data, u_stride] = left.columns(k, col, n, threads);
    const auto [v_data, v_stride] = right.columns(k, col, n, threads);
    const double ns = product_ns(a.nnz(), a.rows, n);
    const int useful = useful_threads(threads, ns);
    const SampledTile<Acc> all{0,        a.rows, block_columns, u_data, u_stride, v_data,
                               v_stride, n,      col == 0,      sums};
    parallel_for(balanced_bounds(a.offsets, useful, ns), useful,
                 [&](std::int64_t begin, std::int64_t end) {
                   SampledTile<Acc> tile = all;
                   tile.row_begin = begin;
                   tile.row_end = end;
                   k.sddmm(a, tile);
                 });
  }
  if (!direct) {
    const MatrixView out{d, d_dtype, 1, a.nnz(), a.nnz(), 1};
    const LoadedEpilogue<Acc> nothing{};
    require_fits(k.write_out(sums, a.nnz(), 0, 0, nothing, out));
  }
}

}  // namespace

void sampled_product(const CsrView& a, const MatrixView& u, const MatrixView& v, void* d,
                     DType d_dtype, int threads) {
  with_accumulator(accumulator_for(u.dtype, v.dtype, u.cols),
                   [&]<class Acc>(Acc) { run<Acc>(a, u, v, d, d_dtype, threads); });
}

}  // namespace sparsecore
