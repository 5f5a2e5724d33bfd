// What the ways of a convolution share: packed weights swept over a part of the right side, and
// sums written out to images.
#pragma once

#include <algorithm>
#include <type_traits>

#include "../choose.h"
#include "../conv.h"
#include "../packed.h"
#include "accumulate.h"
#include "block_product.h"

namespace sparsecore {

// The packed weights of a group of output channels.
struct ConvGroup {
  const PackedStructure* packed;
  const void* values;
};

// The pixels of images as columns of a matrix of channels: one matrix an image, or one of all where
// images follow one another as their pixels do.
class PixelColumns {
 public:
  explicit PixelColumns(const ImageView& m) : image_(m) {
    const std::int64_t pixels = m.pixels();
    const bool one = m.images <= 1 || m.image_stride == pixels * m.col_stride;
    columns_ = one ? std::max<std::int64_t>(pixels * m.images, 1) : pixels;
  }
  std::int64_t columns() const { return columns_; }
  // Rows are channels.
  MatrixView part(std::int64_t number) const {
    if (image_.data == nullptr) return {};
    auto* const data = static_cast<std::byte*>(image_.data);
    return {data + number * image_.image_stride * item_size(image_.dtype),
            image_.dtype,
            image_.channels,
            columns_,
            image_.channel_stride,
            image_.col_stride};
  }

 private:
  ImageView image_;
  std::int64_t columns_;
};

// From the sums of some columns of all channels of a group to every image that they are about.
template <class Acc>
class ImageWriter {
 public:
  ImageWriter(const Kernels<Acc>& k, const ConvEpilogue& epilogue, const ImageView& out)
      : k_(k),
        epilogue_(k, {epilogue.scale, epilogue.bias, {}, epilogue.activation}),
        residual_(epilogue.residual),
        out_(out),
        part_columns_(out_.columns()) {
    if (epilogue.residual.data != nullptr) {
      part_columns_ = std::min(part_columns_, residual_.columns());
    }
  }

  // Whether sums of these columns can go from registers to memory, and where to for the rows of a
  // row block; the group's first channel is `channel`.
  bool finishes(std::int64_t column, std::int64_t count) const {
    const LoadedEpilogue<Acc>& epilogue = epilogue_.view();
    // (Sums of integers are checked as they are written.)
    const bool is_plain =
        !std::is_same_v<Acc, std::int32_t> && epilogue.scale == nullptr &&
        (epilogue.activation == Activation::kNone || epilogue.activation == Activation::kRelu);
    return is_plain && are_rows(out_) && are_rows(residual_) &&
           column % part_columns_ + count <= part_columns_;
  }
  BlockFinish<Acc> finish(const ConvGroup& group, std::int64_t channel, std::int64_t row_block,
                          std::int64_t column) const {
    const LoadedEpilogue<Acc>& epilogue = epilogue_.view();
    const std::int64_t first = row_block * kBlockedRows, row = channel + first;
    const std::int64_t part = column / part_columns_, j = column % part_columns_;
    const MatrixView out = out_.part(part), residual = residual_.part(part);
    const auto at = [&](const MatrixView& m) {
      return m.data == nullptr ? nullptr : static_cast<Acc*>(m.data) + row * m.row_stride + j;
    };
    return {.rows = std::min(kBlockedRows, group.packed->shape().rows - first),
            .out = at(out),
            .out_stride = out.row_stride,
            .bias = epilogue.bias == nullptr ? nullptr : epilogue.bias + row,
            .residual = at(residual),
            .residual_stride = residual.row_stride,
            .relu = epilogue.activation == Activation::kRelu};
  }

  // sums[r * stride + j] of channels and columns that follow one another: at most kWrittenRows.
  void write_rows(Acc* sums, std::int64_t stride, std::int64_t first_row, std::int64_t rows,
                  std::int64_t first, std::int64_t count) const {
    require_fits(write(sums, stride, first_row, rows, first, count));
  }

  // Of row blocks [begin, end), kSumRows of sums each; the group's first channel is `channel`.
  void write(Acc* sums, std::int64_t width, const ConvGroup& group, std::int64_t channel,
             std::int64_t begin, std::int64_t end, std::int64_t column, std::int64_t count) const {
    bool fits = true;
    for (std::int64_t b = begin; b < end; ++b) {
      const std::int64_t rows =
          std::min(kBlockedRows, group.packed->shape().rows - b * kBlockedRows);
      fits &= write(sums + (b - begin) * kSumRows * width, width, channel + b * kBlockedRows, rows,
                    column, count);
    }
    require_fits(fits);
  }

 private:
  // Of the accumulator's type, pixel after pixel; or absent.
  static bool are_rows(const PixelColumns& images) {
    const MatrixView m = images.part(0);
    return m.data == nullptr ||
           (m.dtype == DTypeOf<Acc>::value && (m.col_stride == 1 || m.cols == 1));
  }

  bool write(Acc* sums, std::int64_t width, std::int64_t first_row, std::int64_t rows,
             std::int64_t first, std::int64_t count) const {
    bool fits = true;
    for (std::int64_t done = 0; done < count;) {
      const std::int64_t part = (first + done) / part_columns_;
      const std::int64_t column = (first + done) % part_columns_;
      const std::int64_t some = std::min(count - done, part_columns_ - column);
      LoadedEpilogue<Acc> epilogue = epilogue_.view();
      epilogue.residual = residual_.part(part);
      fits &= k_.write_out(sums + done, width, first_row, column, epilogue,
                           block_of(out_.part(part), first_row, rows, column, some));
      done += some;
    }
    return fits;
  }

  const Kernels<Acc>& k_;
  EpilogueLoader<Acc> epilogue_;
  PixelColumns residual_, out_;
  std::int64_t part_columns_;
};

// What a block of the weights adds to its sums, the panel being `width` wide.
template <class Acc>
PackedTile<Acc> conv_tile(const ConvGroup& group, DType dtype, std::int64_t row_block,
                          std::int64_t column_block, std::int64_t width) {
  const PackedStructure& a = *group.packed;
  const BlockedRows::Block block = a.rows().block(row_block, column_block);
  PackedTile<Acc> tile{};
  tile.groups = block.groups;
  tile.counts = block.counts;
  tile.rows = block.rows;
  tile.values = group.values;
  tile.dtype = dtype;
  tile.columns = tile.width = tile.sums_stride = width;
  tile.first = column_block == 0;
  tile.offsets = a.offsets();
  tile.first_entry = a.start(row_block, column_block);
  tile.padding_is_zero = a.has_zero_rows();
  tile.picks = picks_from_registers();
  return tile;
}

}  // namespace sparsecore
