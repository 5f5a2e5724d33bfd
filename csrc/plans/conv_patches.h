// The way of a convolution by patches: tiles of columns of its right side, each multiplied by all
// output channels of a group before the next; of a tile, the rows that a block of columns of the
// weights needs are copied, multiplied, and overwritten by the next block's.
//
// Bytes: the packed weights once a tile (6 an fp32 entry, from the second-level cache or beyond);
// a block's part of the right side, 32 KB, is written and read in the first-level cache; the sums
// of a tile stay in the second. Flops: 2 * entries * pixels.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "../choose.h"
#include "../patches.h"
#include "conv_product.h"

namespace sparsecore {

template <class Acc>
class PatchProduct {
 public:
  PatchProduct(std::vector<ConvGroup> groups, DType dtype, const ConvGeometry& geometry,
               const ImageView& x, const ConvEpilogue& epilogue, const ImageView& out,
               std::int64_t of_images)
      : k_(kernels<Acc>()),
        groups_(std::move(groups)),
        dtype_(dtype),
        x_(x),
        patches_(x, geometry),
        writer_(k_, epilogue, out),
        odd_apart_(out.pixels() * of_images * std::int64_t{sizeof(Acc)} <= kBytesApart) {
    for_column_tiles(patches_.columns(), k_.lanes, k_.block_vectors,
                     [&](const ColumnTile& tile) { tiles_.push_back(tile); });
  }

  // A unit of work is a tile of columns by some row blocks of a group: by all of them, unless there
  // are too few tiles for the threads.
  void run(int threads) const {
    const PackedStructure& first = *groups_[0].packed;
    const double ns = static_cast<double>(std::ssize(groups_)) *
                      (product_ns(first.size(), first.shape().rows, patches_.columns()) +
                       copy_ns(first.shape().cols * patches_.columns()));
    const int useful = useful_threads(threads, ns);
    const std::int64_t row_blocks = first.rows().row_blocks(), tiles = std::ssize(tiles_);
    const std::int64_t least_units = useful == 1 ? 1 : kUnitsOfThread * useful;
    const std::int64_t parts =
        std::clamp<std::int64_t>(least_units / (tiles * std::ssize(groups_)), 1, row_blocks);
    const std::int64_t units = std::ssize(groups_) * tiles * parts;
    parallel_for(
        units, useful, ns, [&] { return even_bounds(units, useful, ns); },
        [&](std::int64_t begin, std::int64_t end) {
          Room room(*this, row_blocks, parts);
          for (std::int64_t u = begin; u < end; ++u) {
            const std::int64_t part = u % parts;
            multiply(groups_[static_cast<std::size_t>(u / parts / tiles)],
                     u / parts / tiles * first.shape().rows,
                     tiles_[static_cast<std::size_t>(u / parts % tiles)],
                     {row_blocks * part / parts, row_blocks * (part + 1) / parts}, room);
          }
        });
  }

 private:
  static constexpr std::int64_t kUnitsOfThread = 4;

  struct Range {
    std::int64_t begin, end;
  };
  // What a thread needs for its units.
  struct Room {
    Room(const PatchProduct& product, std::int64_t row_blocks, std::int64_t parts)
        : panel(product.panel_rows() * product.widest()),
          sums((row_blocks / parts + 1) * kSumRows * product.widest()) {}
    Scratch<Acc> panel, sums;
    Patches::Columns columns;
  };

  std::int64_t widest() const {
    std::int64_t most = 0;
    for (const ColumnTile& tile : tiles_) most = std::max(most, width_of(tile));
    return most;
  }
  std::int64_t width_of(const ColumnTile& tile) const { return block_width(tile.count, k_.lanes); }
  std::int64_t panel_rows() const {
    std::int64_t most = 0;
    for (const ConvGroup& group : groups_) {
      most = std::max(most, group.packed->rows().block_columns() + 1);
    }
    return most;
  }

  void multiply(const ConvGroup& group, std::int64_t first_channel, const ColumnTile& tile,
                const Range& row_blocks, Room& room) const {
    const BlockedRows& rows = group.packed->rows();
    const std::int64_t width = width_of(tile);
    const bool finishes = writer_.finishes(tile.first, tile.count);
    patches_.describe(tile.first, tile.count, width, &room.columns);
    for (std::int64_t c = 0; c < rows.column_blocks(); ++c) {
      load(group, first_channel, c, width, room);
      for (std::int64_t b = row_blocks.begin; b < row_blocks.end; ++b) {
        Acc* const sums = room.sums.data() + (b - row_blocks.begin) * kSumRows * width;
        PackedTile<Acc> sweep = conv_tile<Acc>(group, dtype_, b, c, width);
        sweep.odd_apart = odd_apart_;
        sweep.panel = room.panel.data();
        sweep.sums = sums;
        BlockFinish<Acc> finish;
        if (finishes && c + 1 == rows.column_blocks()) {
          finish = writer_.finish(group, first_channel, b, tile.first);
          sweep.columns = tile.count;
          sweep.finish = &finish;
        }
        k_.packed_sweep(sweep);
      }
    }
    if (finishes) return;
    writer_.write(room.sums.data(), width, group, first_channel, row_blocks.begin, row_blocks.end,
                  tile.first, tile.count);
  }

  // The rows of the right side that a block of the weights' columns needs.
  void load(const ConvGroup& group, std::int64_t first_channel, std::int64_t column_block,
            std::int64_t width, Room& room) const {
    const PackedStructure& a = *group.packed;
    const std::int64_t height = a.rows().block_columns(), first = column_block * height;
    const std::int64_t group_channels = a.shape().cols / patches_.taps();
    ImageView channels = x_;
    channels.data = static_cast<std::byte*>(x_.data) + first_channel / a.shape().rows *
                                                           group_channels * x_.channel_stride *
                                                           item_size(x_.dtype);
    k_.load_patches({&channels, room.columns.runs.data(), std::ssize(room.columns.runs),
                     room.columns.taps.data(), patches_.taps(), patches_.step(), first,
                     std::min(height, a.shape().cols - first), room.panel.data(), width});
    if (a.has_zero_rows()) std::fill_n(room.panel.data() + height * width, width, Acc{0});
  }

  const Kernels<Acc>& k_;
  std::vector<ConvGroup> groups_;
  DType dtype_;
  ImageView x_;
  Patches patches_;
  ImageWriter<Acc> writer_;
  bool odd_apart_;
  std::vector<ColumnTile> tiles_;
};

}  // namespace sparsecore
