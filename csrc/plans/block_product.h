// The way of a product over blocks of rows and columns (blocked_rows.h): tiles of columns of X,
// copied so that a column block's part of them fits the first-level cache; strips of row blocks
// whose sums stay in the second.
#pragma once

#include <algorithm>
#include <vector>

#include "../blocked_rows.h"
#include "accumulate.h"

namespace sparsecore {

// Row blocks that share a column block's part of X while it is in the first-level cache; their sums
// stay in the second level.
constexpr std::int64_t kStripBlocks = 8;

// Row blocks have room for the rows that fill up their last group.
constexpr std::int64_t kSumRows = kBlockedRows + kGroupRows;
static_assert(kBlockedRows <= kWrittenRows);

// Up to so many columns at a time, whole vectors.
struct ColumnTile {
  std::int64_t first, count;
  int vectors;
};

// Tiles of nearly equal width: 5 vectors are 3 + 2, not 4 + 1.
inline std::vector<ColumnTile> column_tiles(std::int64_t columns, std::int64_t lanes,
                                            std::int64_t most_vectors) {
  const std::int64_t vectors = (columns + lanes - 1) / lanes;
  const std::int64_t tiles = (vectors + most_vectors - 1) / most_vectors;
  std::vector<ColumnTile> result;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t begin = vectors * t / tiles, end = vectors * (t + 1) / tiles;
    result.push_back({begin * lanes, std::min(columns, end * lanes) - begin * lanes,
                      static_cast<int>(end - begin)});
  }
  return result;
}

// A `Blocks` is a matrix in blocks: rows(), values(), dtype(); `starts`, how many entries the row
// blocks before each have; kZeroRow, whether the copy of X has a row of zeros after each column
// block; and sweep(kernels, tile, row block, column block, panel), which completes the tile.
template <class Acc, class Blocks>
class BlockProduct {
 public:
  BlockProduct(const Blocks& a, const MatrixView& x, const Epilogue& epilogue,
               const MatrixView& out)
      : k_(kernels<Acc>()), a_(a), x_(x), epilogue_(k_, epilogue), out_(out) {}

  void run(int threads) {
    const std::int64_t lanes = k_.lanes, widest = k_.block_vectors * lanes;
    const IndexView starts{a_.starts().data(), 8, std::ssize(a_.starts())};
    const auto ns = [&](std::int64_t columns) {
      return product_ns(a_.starts().back(), out_.rows, columns);
    };
    PanelCopies<Acc> copies(panel_rows() * std::min(widest, (x_.cols + lanes - 1) / lanes * lanes),
                            useful_threads(threads, ns(widest)), true);
    const std::int64_t column_blocks = a_.rows().column_blocks();
    for (const ColumnTile& tile : column_tiles(x_.cols, lanes, k_.block_vectors)) {
      const std::int64_t stride = tile.vectors * lanes;
      const int useful = useful_threads(threads, ns(stride));
      const auto load = [&](Acc* room, std::int64_t begin, std::int64_t end) {
        for (std::int64_t c = begin; c < end; ++c) load_block(tile, stride, c, room);
      };
      copies.share(column_blocks, copy_ns(x_.rows * tile.count), threads, load);
      parallel_for(
          balanced_bounds(starts, useful, ns(stride)), useful,
          [&](std::int64_t begin, std::int64_t end) {
            const Acc* const panel =
                copies.get(tile.first, [&](Acc* room) { load(room, 0, column_blocks); });
            const Scratch<Acc> sums(std::min(kStripBlocks, end - begin) * kSumRows * stride);
            for (std::int64_t b = begin; b < end; b += kStripBlocks) {
              strip(b, std::min(b + kStripBlocks, end), tile, panel, sums.data());
            }
          });
    }
  }

 private:
  static constexpr std::int64_t kZeroRows = Blocks::kZeroRow ? 1 : 0;

  std::int64_t block_height() const { return a_.rows().block_columns() + kZeroRows; }
  std::int64_t panel_rows() const { return a_.rows().column_blocks() * block_height(); }

  // Copies what a column block needs of a tile's columns of X.
  void load_block(const ColumnTile& tile, std::int64_t stride, std::int64_t block,
                  Acc* panel) const {
    const std::int64_t width = a_.rows().block_columns(), row = block * width;
    const std::int64_t rows = std::min(width, x_.rows - row);
    Acc* const to = panel + block * block_height() * stride;
    if (tile.count < stride) std::fill_n(to, block_height() * stride, Acc{0});
    if (rows > 0) k_.load_panel(block_of(x_, row, rows, tile.first, tile.count), to, stride);
    std::fill_n(to + width * stride, kZeroRows * stride, Acc{0});
  }

  void strip(std::int64_t begin, std::int64_t end, const ColumnTile& columns, const Acc* panel,
             Acc* sums) const {
    const std::int64_t stride = columns.vectors * k_.lanes;
    for (std::int64_t c = 0; c < a_.rows().column_blocks(); ++c) {
      for (std::int64_t b = begin; b < end; ++b) {
        const BlockedRows::Block block = a_.rows().block(b, c);
        const BlockTile<Acc> tile{.groups = block.groups,
                                  .counts = block.counts,
                                  .rows = block.rows,
                                  .values = a_.values(),
                                  .dtype = a_.dtype(),
                                  .panel = panel,
                                  .sums = sums + (b - begin) * kSumRows * stride,
                                  .vectors = columns.vectors,
                                  .first = c == 0};
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
};

}  // namespace sparsecore
