// The way of a product over blocks of rows and columns (blocked_rows.h): tiles of columns of X,
// copied so that a column block's part of them fits the first-level cache; strips of row blocks
// whose sums stay in the second.
#pragma once

#include <algorithm>
#include <vector>

#include "../blocked_rows.h"
#include "../choose.h"
#include "accumulate.h"

namespace sparsecore {

// Row blocks that share a column block's part of X while it is in the first-level cache; their sums
// stay in the second level.
constexpr std::int64_t kStripBlocks = 8;

// Row blocks have room for the rows that fill up their last group.
constexpr std::int64_t kSumRows = kBlockedRows + kGroupRows;
static_assert(kBlockedRows <= kWrittenRows);

// Panel rows `first` ... of a column block, `most` of them where X has so many.
template <class Acc>
void load_rows_of(const Kernels<Acc>& k, const MatrixView& x, std::int64_t first, std::int64_t most,
                  const ColumnTile& tile, Acc* panel, std::int64_t width) {
  const std::int64_t rows = std::min(most, x.rows - first);
  if (rows > 0) k.load_panel(block_of(x, first, rows, tile.first, tile.count), panel, width);
}

// A `Blocks` is a matrix in blocks: rows(), entries(), values(), dtype(); starts(), how many
// entries the row blocks before each have, and the end; kPartsOfVectors, whether panels may be
// narrower than a vector; has_zero_rows(), whether a row of zeros follows each column block of X;
// load(), which copies a column block, as load_rows_of() does; and sweep(kernels, tile, row block,
// column block, panel), which completes the tile.
template <class Acc, class Blocks>
class BlockProduct {
 public:
  BlockProduct(const Blocks& a, const MatrixView& x, const Epilogue& epilogue,
               const MatrixView& out)
      : k_(kernels<Acc>()),
        a_(a),
        x_(x),
        epilogue_(k_, epilogue),
        out_(out),
        sums_are_result_(epilogue.empty() && out.dtype == DTypeOf<Acc>::value &&
                         out.col_stride == 1) {}

  void run(int threads) {
    const std::int64_t lanes = k_.lanes, widest = k_.block_vectors * lanes;
    const bool reads_x = x_is_panel();
    const std::int64_t copy =
        panel_rows() * std::min(widest, width_of({0, x_.cols, vectors_of(x_.cols, lanes)}));
    PanelCopies<Acc> copies(reads_x ? 0 : copy, useful_threads(threads, ns(widest)), true);
    for_column_tiles(x_.cols, lanes, k_.block_vectors, [&](const ColumnTile& tile) {
      multiply(tile, reads_x ? static_cast<const Acc*>(x_.data) : nullptr, copies, threads);
    });
  }

 private:
  double ns(std::int64_t columns) const { return product_ns(a_.entries(), out_.rows, columns); }

  // A tile of columns; `x` are they as they are read, null where they are copied.
  void multiply(const ColumnTile& tile, const Acc* x, PanelCopies<Acc>& copies, int threads) const {
    const std::int64_t column_blocks = a_.rows().column_blocks();
    const auto load = [&](Acc* room, std::int64_t begin, std::int64_t end) {
      for (std::int64_t c = begin; c < end; ++c) load_block(tile, c, room);
    };
    copies.share(column_blocks, copy_ns(x_.rows * tile.count), threads, load);
    const double tile_ns = ns(width_of(tile));
    const int useful = useful_threads(threads, tile_ns);
    const auto bounds = [&] {
      const auto& starts = a_.starts();
      return balanced_bounds({starts.data(), 8, std::ssize(starts)}, useful, tile_ns);
    };
    const auto sweep = [&](std::int64_t begin, std::int64_t end) {
      const Acc* const panel =
          x != nullptr ? x
                       : copies.get(tile.first, [&](Acc* room) { load(room, 0, column_blocks); });
      begin = sweep_in_place(begin, end, tile, panel);
      const Scratch<Acc> sums(std::min(kStripBlocks, end - begin) * kSumRows * width_of(tile));
      for (std::int64_t b = begin; b < end; b += kStripBlocks) {
        strip(b, std::min(b + kStripBlocks, end), tile, panel, sums.data());
      }
    };
    parallel_for(a_.rows().row_blocks(), useful, tile_ns, bounds, sweep);
  }

  std::int64_t zero_rows() const { return a_.has_zero_rows() ? 1 : 0; }
  std::int64_t block_height() const { return a_.rows().block_columns() + zero_rows(); }
  std::int64_t panel_rows() const { return a_.rows().column_blocks() * block_height(); }

  // Columns of the panel.
  std::int64_t width_of(const ColumnTile& tile) const {
    return Blocks::kPartsOfVectors ? block_width(tile.count, k_.lanes) : tile.vectors * k_.lanes;
  }

  // Whether X lies as a copy of it would, or near enough.
  bool x_is_panel() const {
    const std::int64_t width = block_width(x_.cols, k_.lanes);
    return !a_.has_zero_rows() && x_.dtype == DTypeOf<Acc>::value && x_.cols > 0 &&
           x_.cols == width && x_.cols <= k_.block_vectors * k_.lanes && x_.col_stride == 1 &&
           x_.row_stride == width && !pays_to_align(x_, a_.entries());
  }

  // Copies what a column block needs of a tile's columns of X.
  void load_block(const ColumnTile& tile, std::int64_t block, Acc* panel) const {
    const std::int64_t height = a_.rows().block_columns(), width = width_of(tile);
    Acc* const to = panel + block * block_height() * width;
    for (std::int64_t r = 0; tile.count < width && r < height; ++r) {
      std::fill(to + r * width + tile.count, to + (r + 1) * width, Acc{0});
    }
    a_.load(k_, x_, block * height, height, tile, to, width);
    std::fill_n(to + height * width, zero_rows() * width, Acc{0});
  }

  // Where the sums of a column block are the result as it lies in memory: all row blocks of [begin,
  // end) but those with rows that only fill up a group. Returns the first that is left.
  std::int64_t sweep_in_place(std::int64_t begin, std::int64_t end, const ColumnTile& columns,
                              const Acc* panel) const {
    const bool are_result = sums_are_result_ && a_.rows().column_blocks() == 1;
    std::int64_t b = begin;
    for (; are_result && b < end; ++b) {
      const std::int64_t rows = std::min(kBlockedRows, out_.rows - b * kBlockedRows);
      if (rows % kGroupRows != 0) break;
      const MatrixView to = block_of(out_, b * kBlockedRows, 1, columns.first, columns.count);
      BlockTile<Acc> tile = block_tile(b, 0, columns);
      tile.panel = panel;
      tile.columns = columns.count;
      tile.sums = static_cast<Acc*>(to.data);
      tile.sums_stride = out_.row_stride;
      a_.sweep(k_, tile, b, 0, 0);
    }
    return b;
  }

  // Of the sums nothing but whether they begin here.
  BlockTile<Acc> block_tile(std::int64_t row_block, std::int64_t column_block,
                            const ColumnTile& columns) const {
    const BlockedRows::Block block = a_.rows().block(row_block, column_block);
    BlockTile<Acc> tile{};
    tile.groups = block.groups;
    tile.counts = block.counts;
    tile.rows = block.rows;
    tile.values = a_.values();
    tile.dtype = a_.dtype();
    tile.columns = tile.width = width_of(columns);
    tile.first = column_block == 0;
    return tile;
  }

  void strip(std::int64_t begin, std::int64_t end, const ColumnTile& columns, const Acc* panel,
             Acc* sums) const {
    const std::int64_t stride = width_of(columns);
    for (std::int64_t c = 0; c < a_.rows().column_blocks(); ++c) {
      for (std::int64_t b = begin; b < end; ++b) {
        BlockTile<Acc> tile = block_tile(b, c, columns);
        tile.panel = panel;
        tile.sums = sums + (b - begin) * kSumRows * stride;
        tile.sums_stride = stride;
        a_.sweep(k_, tile, b, c, c * block_height() * stride);
      }
    }
    bool fits = true;
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t row = b * kBlockedRows, rows = std::min(kBlockedRows, out_.rows - row);
      fits &=
          k_.write_out(sums + (b - begin) * kSumRows * stride, stride, row, columns.first,
                       epilogue_.view(), block_of(out_, row, rows, columns.first, columns.count));
    }
    require_fits(fits);
  }

  const Kernels<Acc>& k_;
  const Blocks& a_;
  const MatrixView& x_;
  EpilogueLoader<Acc> epilogue_;
  const MatrixView& out_;
  bool sums_are_result_;
};

}  // namespace sparsecore
