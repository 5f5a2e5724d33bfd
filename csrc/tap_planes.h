// The right side of a convolution where it is made for the columns of the kernel only: of each
// channel, one plane for each column of taps (and, where rows are strided, for each phase of rows
// that taps meet). A plane has the result's width; it holds what the column's taps meet there, rows
// under rows, or zero beyond the image's edge. A tap one row further down meets the same plane a
// row later: the rows of the right side (patches.h) overlap in memory instead of being copied tap
// by tap, 3 x 3 of them from 3 planes, and products read them where they are.
//
// Planes are made for a strip of the result's rows at a time, so that they stay in the second-level
// cache.
#pragma once

#include <cstdint>
#include <vector>

#include "image.h"
#include "kernels.h"

namespace sparsecore {

class TapPlanes {
 public:
  // `geometry` fits images of this size, of `channels` a group, whose elements have `item` bytes.
  TapPlanes(const ConvGeometry& geometry, std::int64_t height, std::int64_t width,
            std::int64_t channels, std::int64_t item);

  std::int64_t strip_rows() const { return strip_rows_; }  // of the result; the last has fewer
  std::int64_t strips() const { return (height_ + strip_rows_ - 1) / strip_rows_; }
  std::int64_t width() const { return width_; }    // of the result
  std::int64_t height() const { return height_; }  // likewise
  // Planes of a channel, and elements from one plane to the next.
  std::int64_t count() const { return geometry_.kernel[1] * phases_; }
  std::int64_t stride() const { return stride_; }
  std::int64_t channel_size() const { return count() * stride_; }

  // Where the right side's row `tap` of a channel begins, counted from the channel's first plane.
  std::int64_t place(std::int64_t tap) const;
  // Elements written of planes for one of the result; patches write one for each tap.
  double copied() const;

  // The planes of the strip that begins with this row of the result.
  std::vector<TapPlane> describe(std::int64_t first_row) const;

 private:
  ConvGeometry geometry_;
  std::int64_t image_height_, image_width_;
  std::int64_t height_, width_;  // of the result
  std::int64_t phases_;          // of rows
  std::int64_t more_rows_;       // of a plane than of a strip
  std::int64_t strip_rows_, stride_;
};

}  // namespace sparsecore
