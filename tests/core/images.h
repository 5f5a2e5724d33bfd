// Images of tests, in buffers that end with their last item (arrays.h), and the obvious right side
// of a convolution.
#pragma once

#include <array>

#include "arrays.h"
#include "image.h"

namespace sparsecore::testing {

// Memory orders: channels apart or together, without gaps or with; pixels apart; all backwards; and
// rows apart, which no result has.
enum class ImageLayout : std::uint8_t {
  kPlanes,
  kPixels,
  kPlanesApart,
  kPixelsApart,
  kStrided,
  kReversed,
  kRowsApart
};
constexpr int kImageLayouts = 7;
constexpr int kEvenImageLayouts = 6;

class Images {
 public:
  using Shape = std::array<Index, 4>;  // images, channels, height, width

  Images(DType dtype, const Shape& shape, ImageLayout layout = ImageLayout::kPlanes,
         Index shift = 0);
  const Shape& shape() const { return shape_; }
  Index pixels() const { return shape_[2] * shape_[3]; }
  Index columns() const { return shape_[0] * pixels(); }
  DType dtype() const { return items_.dtype(); }
  double get(const Shape& where) const { return items_.get(place(where)); }
  void set(const Shape& where, double value) { items_.set(place(where), value); }
  ImageView view() const;
  // Whether all between the elements is as it was.
  bool gaps_are_untouched() const;
  // Channels [first, first + count) as rows, with a column for every pixel of every image.
  Dense rows(Index first, Index count) const;

  // Calls body with where every element is, in order.
  template <class Body>
  void for_each(Body body) const {
    Shape at_{};
    for (at_[0] = 0; at_[0] < shape_[0]; ++at_[0]) {
      for (at_[1] = 0; at_[1] < shape_[1]; ++at_[1]) {
        for (at_[2] = 0; at_[2] < shape_[2]; ++at_[2]) {
          for (at_[3] = 0; at_[3] < shape_[3]; ++at_[3]) body(at_);
        }
      }
    }
  }

 private:
  Index place(const Shape& where) const;

  Shape shape_, strides_;
  Index first_ = 0;
  Array items_;
};

Images random_images(Rng& rng, DType dtype, const Images::Shape& shape,
                     ImageLayout layout = ImageLayout::kPlanes, Index shift = 0);

// What each place of the kernel meets of the channels [first, first + count), a row each, in every
// pixel of the result: zero beyond the images' edges.
Dense patches_of(const Images& x, const ConvGeometry& geometry, Index first, Index count);

}  // namespace sparsecore::testing
