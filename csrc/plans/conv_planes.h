// The way of a convolution by planes (tap_planes.h): strips of rows of an image's result; of each,
// the planes are made once, and tiles of columns of it multiplied where they are.
//
// Bytes: the packed weights once a tile; the planes, 256 KB, are written and read in the
// second-level cache, what a block of the weights' columns needs of them for a tile in the first.
// Flops: 2 * entries * pixels.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "../tap_planes.h"
#include "conv_product.h"

namespace sparsecore {

template <class Acc>
class PlaneProduct {
 public:
  // `offsets`: of each group's entries, in elements of the planes (PlaneOffsets in conv.h).
  PlaneProduct(std::vector<ConvGroup> groups, DType dtype, const ConvGeometry& geometry,
               const TapPlanes& planes, const PlaneOffsets& offsets, const ImageView& x,
               const ConvEpilogue& epilogue, const ImageView& out)
      : k_(kernels<Acc>()),
        groups_(std::move(groups)),
        dtype_(dtype),
        geometry_(geometry),
        planes_(planes),
        offsets_(offsets),
        x_(x),
        writer_(k_, epilogue, out) {}

  // Threads share the strips, or where there are too few of these, the channels and tiles of each.
  void run(int threads) const {
    const std::int64_t units = std::ssize(groups_) * x_.images * planes_.strips();
    const double unit_ns = strip_ns(), ns = unit_ns * static_cast<double>(units);
    const int useful = useful_threads(threads, ns);
    if (useful > 1 && units < kUnitsOfThread * useful) {
      const Room room(*this);
      for (std::int64_t u = 0; u < units; ++u) {
        const Strip strip = this->strip(u);
        share(group_channels(), threads, unit_ns / 4, [&](std::int64_t begin, std::int64_t end) {
          load(strip, begin, end, room.planes.data());
        });
        const std::vector<ColumnTile> tiles = tiles_of(strip);
        share(std::ssize(tiles), threads, unit_ns, [&](std::int64_t begin, std::int64_t end) {
          const Scratch<Acc> sums(sum_size());
          for (std::int64_t t = begin; t < end; ++t) {
            multiply(strip, tiles[static_cast<std::size_t>(t)], room.planes.data(), sums.data());
          }
        });
      }
      return;
    }
    parallel_for(
        units, useful, ns, [&] { return even_bounds(units, useful, ns); },
        [&](std::int64_t begin, std::int64_t end) {
          const Room room(*this);
          const Scratch<Acc> sums(sum_size());
          for (std::int64_t u = begin; u < end; ++u) {
            const Strip strip = this->strip(u);
            load(strip, 0, group_channels(), room.planes.data());
            for (const ColumnTile& tile : tiles_of(strip)) {
              multiply(strip, tile, room.planes.data(), sums.data());
            }
          }
        });
  }

 private:
  static constexpr std::int64_t kUnitsOfThread = 4;

  struct Room {
    explicit Room(const PlaneProduct& product)
        : planes(product.group_channels() * product.planes_.channel_size() +
                 product.k_.block_vectors * product.k_.lanes) {}
    Scratch<Acc> planes;
  };
  struct Strip {
    std::int64_t group, image, first_row, rows;
  };

  std::int64_t group_channels() const { return groups_[0].packed->shape().cols / geometry_.taps(); }
  std::int64_t sum_size() const {
    return groups_[0].packed->rows().row_blocks() * kSumRows * k_.block_vectors * k_.lanes;
  }
  double strip_ns() const {
    const std::int64_t columns = planes_.strip_rows() * planes_.width();
    const PackedStructure& a = *groups_[0].packed;
    return product_ns(a.size(), a.shape().rows, columns) +
           copy_ns(group_channels() * planes_.channel_size());
  }

  Strip strip(std::int64_t unit) const {
    const std::int64_t strips = planes_.strips();
    const std::int64_t first = unit % strips * planes_.strip_rows();
    return {unit / strips / x_.images, unit / strips % x_.images, first,
            std::min(planes_.strip_rows(), planes_.height() - first)};
  }
  std::vector<ColumnTile> tiles_of(const Strip& strip) const {
    std::vector<ColumnTile> tiles;
    for_column_tiles(strip.rows * planes_.width(), k_.lanes, k_.block_vectors,
                     [&](const ColumnTile& tile) { tiles.push_back(tile); });
    return tiles;
  }

  template <class Body>
  static void share(std::int64_t count, int threads, double ns, Body body) {
    const int useful = useful_threads(threads, ns);
    parallel_for(count, useful, ns, [&] { return even_bounds(count, useful, ns); }, body);
  }

  // The planes of channels [begin, end) of the strip's group.
  void load(const Strip& strip, std::int64_t begin, std::int64_t end, Acc* planes) const {
    const std::int64_t first = strip.group * group_channels() + begin;
    ImageView image = x_;
    image.channels = end - begin;
    image.data =
        static_cast<Acc*>(x_.data) + strip.image * x_.image_stride + first * x_.channel_stride;
    const std::vector<TapPlane> parts = planes_.describe(strip.first_row);
    k_.load_tap_planes({&image, geometry_.stride[0], geometry_.stride[1], parts.data(),
                        std::ssize(parts), planes_.width(), planes + begin * planes_.channel_size(),
                        planes_.stride()});
  }

  void multiply(const Strip& strip, const ColumnTile& columns, const Acc* planes, Acc* sums) const {
    const ConvGroup& group = groups_[static_cast<std::size_t>(strip.group)];
    const BlockedRows& rows = group.packed->rows();
    const std::int64_t width = columns.vectors * k_.lanes;
    const std::int64_t group_channel = strip.group * group.packed->shape().rows;
    const std::int64_t first_row = strip.image * planes_.height() + strip.first_row;
    const std::int64_t first_column = first_row * planes_.width() + columns.first;
    const bool finishes = writer_.finishes(first_column, columns.count);
    for (std::int64_t c = 0; c < rows.column_blocks(); ++c) {
      const std::int64_t channel = c * rows.block_columns() / geometry_.taps();
      for (std::int64_t b = 0; b < rows.row_blocks(); ++b) {
        PackedTile<Acc> tile = conv_tile<Acc>(group, dtype_, b, c, width);
        tile.offsets = offsets_.groups[static_cast<std::size_t>(strip.group)].data();
        tile.in_place = true;
        tile.padding_is_zero = false;
        tile.panel = planes + channel * planes_.channel_size() + columns.first;
        tile.sums = sums + b * kSumRows * width;
        BlockFinish<Acc> finish;
        if (finishes && c + 1 == rows.column_blocks()) {
          finish = writer_.finish(group, group_channel, b, first_column);
          tile.columns = columns.count;
          tile.finish = &finish;
        }
        k_.packed_sweep(tile);
      }
    }
    if (finishes) return;
    writer_.write(sums, width, group, group_channel, 0, rows.row_blocks(), first_column,
                  columns.count);
  }

  const Kernels<Acc>& k_;
  std::vector<ConvGroup> groups_;
  DType dtype_;
  ConvGeometry geometry_;
  const TapPlanes& planes_;
  const PlaneOffsets& offsets_;
  ImageView x_;
  ImageWriter<Acc> writer_;
};

}  // namespace sparsecore
