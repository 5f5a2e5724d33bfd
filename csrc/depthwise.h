// A convolution in which each output channel sees one input channel: its right side is the image
// itself, so it is summed straight from padded copies of a channel's rows, tap by tap.
//
// A channel is copied once, into one plane for each phase of rows and columns that taps meet: of
// stride 1 one plane, of stride 2 up to four. There, a tap is an offset, the same for all of the
// result, and neighbours of the result are neighbours. Large images are taken in tiles whose planes
// and sums fit the first-level cache.
#pragma once

#include <cstdint>
#include <vector>

#include "image.h"
#include "kernels.h"

namespace sparsecore {

class DepthwisePlanes {
 public:
  // `geometry` fits images of this size; elements have `item` bytes, vectors `lanes` elements.
  // `together`: the result's channels lie together, so that many are written at once, from the
  // second-level cache.
  DepthwisePlanes(const ConvGeometry& geometry, std::int64_t height, std::int64_t width,
                  std::int64_t lanes, std::int64_t item, bool together);

  struct Tile {
    std::int64_t first_row, rows, first_col, cols;  // of the result
  };
  std::int64_t tiles() const { return row_tiles_ * col_tiles_; }
  Tile tile(std::int64_t number) const;

  // Channels whose planes and sums fit the cache.
  std::int64_t channels_at_once() const;
  // Planes of a channel, elements from one to the next, and in one of their rows.
  std::int64_t count() const { return std::ssize(row_phases_) * std::ssize(col_phases_); }
  std::int64_t stride() const { return stride_; }
  std::int64_t width() const { return plane_width_; }
  std::int64_t channel_size() const { return count() * stride_; }
  std::int64_t sum_size() const { return sum_size_; }  // of a channel

  // Where each tap of the result's first element lies, counted from the channel's first plane.
  std::vector<std::int32_t> offsets() const;
  std::vector<TapPlane> describe(const Tile& tile) const;
  // A multiple of kDepthwiseVectors, the last repeated.
  std::vector<DepthwiseVector> vectors(const Tile& tile) const;

 private:
  ConvGeometry geometry_;
  std::int64_t image_height_, image_width_;
  std::int64_t height_, width_;  // of the result
  std::int64_t lanes_, item_;
  bool together_;
  std::vector<std::int64_t> row_phases_, col_phases_;
  std::int64_t row_tiles_, col_tiles_, tile_rows_, tile_cols_;
  std::int64_t plane_rows_, plane_width_, stride_, sum_size_;
};

}  // namespace sparsecore
