// The right side of a convolution as a matrix ("im2col"), which is never made as a whole: row
// channel * taps + tap, column image * pixels + pixel of the result, holds what the tap meets there
// of the channel, or zero beyond the image's edge.
//
// A tile of its columns is described once for all channels: where runs of columns lie in the image,
// and for each tap which of the columns it meets inside.
#pragma once

#include <cstdint>
#include <vector>

#include "image.h"
#include "kernels.h"

namespace sparsecore {

class Patches {
 public:
  // `geometry` fits `image`.
  Patches(const ImageView& image, const ConvGeometry& geometry);

  std::int64_t columns() const { return image_.images * pixels(); }
  std::int64_t pixels() const { return height_ * width_; }  // of the result
  std::int64_t taps() const { return geometry_.taps(); }

  // The columns [first, first + count) of a tile that is `width` wide; the rest of it is zeros.
  struct Columns {
    std::vector<PatchRun> runs;
    std::vector<PatchTap> taps;
  };
  void describe(std::int64_t first, std::int64_t count, std::int64_t width, Columns* columns) const;

  // Between neighbouring columns of a run, in the image.
  std::int64_t step() const { return geometry_.stride[1] * image_.col_stride; }

 private:
  // Along an axis, by the kernel's places: the first result pixel that meets the image, and the one
  // after the last.
  struct Inside {
    std::int64_t begin, end;
  };
  std::vector<Inside> inside(std::size_t axis, std::int64_t size, std::int64_t out_size) const;

  ImageView image_;
  ConvGeometry geometry_;
  std::int64_t height_, width_;  // of the result
  std::vector<Inside> rows_, cols_;
};

}  // namespace sparsecore
