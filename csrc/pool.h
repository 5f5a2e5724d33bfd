// The largest element of each window of images.
#pragma once

#include <string_view>

#include "image.h"

namespace sparsecore {

// `geometry` has no dilation and one group, and no padding beyond half the kernel: every window
// meets the image. Throws std::invalid_argument where it is otherwise.
class MaxPool {
 public:
  explicit MaxPool(const ConvGeometry& geometry);

  // The shape and dtype of the result, without memory; throws where x does not fit.
  ImageView result(std::string_view name, const ImageView& x) const;

  // Fastest where rows are of neighbouring pixels, and those of `out` follow one another.
  void run(const ImageView& x, const ImageView& out, int threads) const;

 private:
  template <class T>
  void run_as(const ImageView& x, const ImageView& out, int threads) const;

  ConvGeometry geometry_;
};

}  // namespace sparsecore
