#include "sparse24.h"

#include <algorithm>
#include <bit>

#include "../choose.h"
#include "accumulate.h"
#include "row_sweep.h"

namespace sparsecore {
namespace {

// Rows whose sums stay in the second-level cache while the column blocks pass by.
constexpr std::int64_t kStripRows = 256;

// What a wide product keeps of X in the first-level cache. Narrow tiles gain nothing from more than
// half of it: their rows are short, so they have enough of them.
constexpr std::int64_t kWideBlockBytes = std::int64_t{32} << 10;
constexpr std::int64_t kNarrowBlockBytes = std::int64_t{16} << 10;

constexpr std::int64_t kPanelUnit = 32;  // columns of A that a step of the narrow product takes

template <class Acc>
class Product {
 public:
  Product(const Kernels<Acc>& k, const Sparse24View& a, const MatrixView& x,
          const Epilogue& epilogue, const MatrixView& out, int threads)
      : k_(k),
        a_(a),
        x_(x),
        epilogue_(k, epilogue),
        out_(out),
        direct_(epilogue.empty() && out.dtype == DTypeOf<Acc>::value &&
                (out.col_stride == 1 || out.cols == 1)),
        threads_(threads) {}

  void narrow() const {
    const std::int64_t stride = (a_.cols + kPanelUnit - 1) / kPanelUnit * kPanelUnit;
    const std::int64_t widest = std::min(kNarrow24Columns, x_.cols);
    PanelCopies<Acc> copies(widest * stride, useful_threads(threads_, ns(widest)));
    for_column_tiles(x_.cols, 1, kNarrow24Columns, [&](const ColumnTile& tile) {
      const std::int64_t first = tile.first, n = tile.count;
      for_rows(n, [&](std::int64_t begin, std::int64_t end) {
        const Acc* const panel = copies.get(first, [&](Acc* room) {
          k_.sparse24_panel(block_of(x_, 0, x_.rows, first, n), room, stride);
        });
        narrow_rows({begin, end, panel, stride, nullptr, 0, n}, first);
      });
    });
  }

  void wide() const {
    const std::int64_t lanes = k_.lanes, most = k_.wide24_vectors;
    const std::int64_t widest = std::min(most, (x_.cols + lanes - 1) / lanes);
    PanelCopies<Acc> copies(a_.cols * pitch(widest), useful_threads(threads_, ns(widest * lanes)),
                            true);
    for_column_tiles(x_.cols, lanes, most, [&](const ColumnTile& tile) {
      const std::int64_t first = tile.first, n = tile.count, vectors = tile.vectors;
      const auto load = [&](Acc* room, std::int64_t begin, std::int64_t end) {
        Acc* const to = room + begin * pitch(vectors);
        if (n % lanes != 0) std::fill_n(to, (end - begin) * pitch(vectors), Acc{0});
        k_.load_panel(block_of(x_, begin, end - begin, first, n), to, pitch(vectors));
      };
      copies.share(x_.rows, copy_ns(x_.rows * n), threads_, load);
      for_rows(n, [&](std::int64_t begin, std::int64_t end) {
        const Acc* const panel = copies.get(first, [&](Acc* room) { load(room, 0, x_.rows); });
        const Scratch<Acc> sums(std::min(kStripRows, end - begin) * vectors * lanes);
        for (std::int64_t r = begin; r < end; r += kStripRows) {
          poll();
          wide_strip(r, std::min(r + kStripRows, end), first, n, panel, sums.data());
        }
      });
    });
  }

 private:
  double ns(std::int64_t n) const { return product_ns(a_.nnz(), a_.rows, n); }

  // From one row of the wide product's panel to the next.
  std::int64_t pitch(std::int64_t vectors) const {
    return static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(vectors))) * k_.lanes;
  }

  template <class Body>
  void for_rows(std::int64_t n, Body body) const {
    const int useful = useful_threads(threads_, ns(n));
    parallel_for(a_.rows, useful, ns(n), [&] { return even_bounds(a_.rows, useful, ns(n)); }, body);
  }

  void narrow_rows(SweepTile<Acc> tile, std::int64_t first) const {
    if (direct_) {
      const MatrixView target = block_of(out_, tile.row_begin, 1, first, tile.n);
      tile.y = static_cast<Acc*>(target.data);
      tile.y_stride = target.row_stride;
      return k_.sparse24_narrow(a_, tile);
    }
    alignas(64) Acc block[kBlockRows * kNarrow24Columns];
    tile.y = block;
    tile.y_stride = tile.n;
    bool fits = true;
    for (std::int64_t r = tile.row_begin, end = tile.row_end; r < end; r += kBlockRows) {
      tile.row_begin = r;
      tile.row_end = std::min(r + kBlockRows, end);
      k_.sparse24_narrow(a_, tile);
      fits &= write(block, tile.n, r, tile.row_end, first, tile.n);
    }
    require_fits(fits);
  }

  void wide_strip(std::int64_t begin, std::int64_t end, std::int64_t first, std::int64_t n,
                  const Acc* panel, Acc* sums) const {
    const std::int64_t vectors = (n + k_.lanes - 1) / k_.lanes, stride = vectors * k_.lanes;
    const std::int64_t bytes = vectors > 2 ? kWideBlockBytes : kNarrowBlockBytes;
    const std::int64_t columns = std::min(
        kMostWide24Columns, bytes / (pitch(vectors) * static_cast<std::int64_t>(sizeof(Acc))));
    for (std::int64_t c = 0; c < a_.cols; c += columns) {
      k_.sparse24_wide(a_, {.row_begin = begin,
                            .row_end = end,
                            .column = c,
                            .columns = std::min(columns, a_.cols - c),
                            .panel = panel + c * pitch(vectors),
                            .sums = sums,
                            .vectors = static_cast<int>(vectors),
                            .first = c == 0,
                            .picks = picks_from_registers()});
    }
    bool fits = true;
    for (std::int64_t r = begin; r < end; r += kBlockRows) {
      fits &=
          write(sums + (r - begin) * stride, stride, r, std::min(r + kBlockRows, end), first, n);
    }
    require_fits(fits);
  }

  bool write(Acc* block, std::int64_t stride, std::int64_t begin, std::int64_t end,
             std::int64_t first, std::int64_t n) const {
    return k_.write_out(block, stride, begin, first, epilogue_.view(),
                        block_of(out_, begin, end - begin, first, n));
  }

  const Kernels<Acc>& k_;
  const Sparse24View& a_;
  const MatrixView& x_;
  EpilogueLoader<Acc> epilogue_;
  const MatrixView& out_;
  bool direct_;
  int threads_;
};

}  // namespace

void sparse24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                      const MatrixView& out, int threads) {
  const bool integers = a.dtype == DType::kInt8 && x.dtype == DType::kInt8;
  const std::int64_t row = 2 * a.groups();
  with_accumulator(accumulator_for(a.dtype, x.dtype, integers ? row : 0), [&]<class Acc>(Acc) {
    const Kernels<Acc>& k = kernels<Acc>();
    switch (sparse24_way(a.rows, a.cols, x.cols, k.lanes, k.sparse24_narrow != nullptr)) {
      case Sparse24Way::kNarrow:
        return Product<Acc>(k, a, x, epilogue, out, threads).narrow();
      case Sparse24Way::kWide:
        return Product<Acc>(k, a, x, epilogue, out, threads).wide();
      case Sparse24Way::kRowSweep:
        return row_sweep(a, x, epilogue, out, threads);
    }
  });
}

}  // namespace sparsecore
