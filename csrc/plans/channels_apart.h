// Images as convolutions read them fastest.
#pragma once

#include <algorithm>

#include "../block_pool.h"
#include "accumulate.h"

namespace sparsecore {

// Images as the kernels copy patches from them fastest: channels apart, in the accumulator's type.
// A copy of them is made where taps would otherwise each transpose or convert the same pixels
// again. (64 channels of 56 x 56 pixels, channels together, 3 x 3, 90 %, Zen 5: 300 us, without
// 500.)
template <class Acc>
class ChannelsApart {
 public:
  ChannelsApart(const Kernels<Acc>& k, const ImageView& x, const ConvGeometry& geometry,
                int threads)
      : view_(x) {
    const bool is_apart = x.channel_stride != 1 || x.channels == 1 || x.pixels() == 1;
    if (geometry.taps() == 1 || (is_apart && x.dtype == DTypeOf<Acc>::value)) return;
    const std::int64_t pixels = x.pixels(), planes = x.images * x.channels;
    room_ = BlockPool::take(static_cast<std::size_t>(planes * pixels) * sizeof(Acc));
    Acc* const to = reinterpret_cast<Acc*>(room_.get());
    const double ns = copy_ns(planes * pixels);
    const int useful = useful_threads(threads, ns);
    const std::int64_t groups = (x.channels + kPlanesAtOnce - 1) / kPlanesAtOnce;
    parallel_for(
        x.images * groups, useful, ns, [&] { return even_bounds(x.images * groups, useful, ns); },
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t u = begin; u < end; ++u) {
            const std::int64_t image = u / groups, first = u % groups * kPlanesAtOnce;
            const std::int64_t count = std::min(kPlanesAtOnce, x.channels - first);
            copy(k, x, image, first, count, to + (image * x.channels + first) * pixels);
          }
        });
    view_ = {to,      DTypeOf<Acc>::value, x.images, x.channels, x.height,
             x.width, x.channels * pixels, pixels,   x.width,    1};
  }
  const ImageView& view() const { return view_; }

 private:
  static constexpr std::int64_t kPlanesAtOnce = 16;  // a cache line of a pixel's channels

  static void copy(const Kernels<Acc>& k, const ImageView& x, std::int64_t image,
                   std::int64_t first, std::int64_t count, Acc* to) {
    auto* const data = static_cast<std::byte*>(x.data) +
                       (image * x.image_stride + first * x.channel_stride) * item_size(x.dtype);
    if (x.lies_evenly()) {
      const MatrixView plane{data, x.dtype, count, x.pixels(), x.channel_stride, x.col_stride};
      return k.load_panel(plane, to, x.pixels());
    }
    for (std::int64_t r = 0; r < x.height; ++r) {
      const MatrixView row{data + r * x.row_stride * item_size(x.dtype),
                           x.dtype,
                           count,
                           x.width,
                           x.channel_stride,
                           x.col_stride};
      k.load_panel(row, to + r * x.width, x.pixels());
    }
  }

  ImageView view_;
  BlockPool::Block room_;
};

}  // namespace sparsecore
