#include "sddmm.h"

#include <algorithm>

#include "../choose.h"
#include "accumulate.h"

namespace sparsecore {
namespace {

constexpr std::int64_t kReuseOfWide = 16;

// So many columns of V at a time that they stay in a second-level cache.
template <class Acc>
std::int64_t columns_at_once(const MatrixView& v) {
  constexpr std::int64_t kItems = (std::int64_t{1} << 20) / std::int64_t{sizeof(Acc)};
  return std::clamp<std::int64_t>(kItems / std::max<std::int64_t>(v.rows, 1) / 64 * 64, 64, 512);
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
  const std::int64_t width = columns_at_once<Acc>(v);
  // A row of V is read for every entry of its column: a part of a wide V is better copied than read
  // from lines that compete for the same places in a cache.
  const bool copy_pays = v.cols > width && a.nnz() / kReuseOfWide >= v.rows;
  const Operand<Acc> left(u, width, is_readable<Acc>(u));
  const Operand<Acc> right(v, width, is_readable<Acc>(v) && !copy_pays);
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
    parallel_for(balanced_bounds(a.offsets, useful, ns), useful,
                 [&, u_data = u_data, v_data = v_data, u_stride = u_stride, v_stride = v_stride](
                     std::int64_t begin, std::int64_t end) {
                   k.sddmm(a, begin, end, u_data, u_stride, v_data, v_stride, n, col > 0, sums);
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
