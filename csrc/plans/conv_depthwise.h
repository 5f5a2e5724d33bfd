// The way of a convolution whose groups have one input channel (depthwise.h): some channels of a
// tile at a time, copied into planes and summed from there.
//
// Bytes: the image is read and the result written once; planes and sums stay in the first-level
// cache. Flops: 2 * entries * pixels.
#pragma once

#include <algorithm>
#include <vector>

#include "../depthwise.h"
#include "conv_product.h"

namespace sparsecore {

// Weights in the order of CSR.
struct DepthwiseWeights {
  IndexView row_starts;
  const std::uint8_t* taps;  // of each entry
  const void* values;
  DType dtype;
  std::int64_t rows;
  std::int64_t multiplier;  // output channels of an input channel
};

template <class Acc>
class DepthwiseProduct {
 public:
  DepthwiseProduct(const DepthwiseWeights& weights, const ConvGeometry& geometry,
                   const ImageView& x, const ConvEpilogue& epilogue, const ImageView& out)
      : k_(kernels<Acc>()),
        weights_(weights),
        geometry_(geometry),
        x_(x),
        out_width_(out.width),
        out_height_(out.height),
        planes_(geometry, x.height, x.width, k_.lanes, sizeof(Acc),
                out.channel_stride == 1 && out.col_stride != 1),
        offsets_(planes_.offsets()),
        writer_(k_, epilogue, out) {}

  // A unit of work is a tile of some channels of an image; those of the same tile follow one
  // another, as they share its description.
  void run(int threads) const {
    const std::int64_t some = planes_.channels_at_once();
    const std::int64_t blocks = (x_.channels + some - 1) / some;
    const std::int64_t units = planes_.tiles() * x_.images * blocks;
    const std::int64_t pixels = x_.images * out_height_ * out_width_;
    const double ns = product_ns(weights_.row_starts[weights_.rows], weights_.rows, pixels) +
                      copy_ns(x_.images * x_.channels * planes_.tiles() * planes_.channel_size());
    const int useful = useful_threads(threads, ns);
    parallel_for(
        units, useful, ns, [&] { return even_bounds(units, useful, ns); },
        [&](std::int64_t begin, std::int64_t end) {
          Room room(*this, some);
          for (std::int64_t u = begin; u < end; ++u) {
            const std::int64_t first = u % blocks * some;
            room.turn_to(*this, u / blocks / x_.images);
            multiply(u / blocks % x_.images, first, std::min(some, x_.channels - first), room);
          }
        });
  }

 private:
  // What a thread needs for its units.
  struct Room {
    Room(const DepthwiseProduct& product, std::int64_t channels)
        : planes(size_of(product, channels)),
          sums(channels * product.weights_.multiplier * product.planes_.sum_size()) {
      // Vectors at the end of rows go on into what lies beyond them.
      std::fill_n(planes.data(), size_of(product, channels), Acc{0});
    }
    void turn_to(const DepthwiseProduct& product, std::int64_t tile_number) {
      if (number == tile_number) return;
      number = tile_number;
      tile = product.planes_.tile(number);
      described = product.planes_.describe(tile);
      vectors = product.planes_.vectors(tile);
    }
    static std::int64_t size_of(const DepthwiseProduct& product, std::int64_t channels) {
      return channels * product.planes_.channel_size() + 2 * product.k_.lanes;
    }
    Scratch<Acc> planes, sums;
    std::int64_t number = -1;
    DepthwisePlanes::Tile tile{};
    std::vector<TapPlane> described;
    std::vector<DepthwiseVector> vectors;
  };

  void multiply(std::int64_t image, std::int64_t first, std::int64_t channels,
                const Room& room) const {
    ImageView part = x_;
    part.channels = channels;
    part.data = static_cast<Acc*>(x_.data) + image * x_.image_stride + first * x_.channel_stride;
    k_.load_tap_planes({&part, geometry_.stride[0], geometry_.stride[1], room.described.data(),
                        planes_.count(), planes_.width(), room.planes.data(), planes_.stride()});
    const std::int64_t rows = channels * weights_.multiplier;
    DepthwiseTile<Acc> tile{};
    tile.row_starts = weights_.row_starts;
    tile.taps = weights_.taps;
    tile.values = weights_.values;
    tile.dtype = weights_.dtype;
    tile.first_row = first * weights_.multiplier;
    tile.rows = rows;
    tile.multiplier = weights_.multiplier;
    tile.offsets = offsets_.data();
    tile.planes = room.planes.data();
    tile.channel_size = planes_.channel_size();
    tile.vectors = room.vectors.data();
    tile.vector_count = std::ssize(room.vectors);
    tile.sums = room.sums.data();
    tile.sums_stride = planes_.sum_size();
    k_.depthwise(tile);
    write(image, room, tile.first_row, rows);
  }

  void write(std::int64_t image, const Room& room, std::int64_t first_row,
             std::int64_t rows) const {
    const DepthwisePlanes::Tile& tile = room.tile;
    const std::int64_t column = (image * out_height_ + tile.first_row) * out_width_;
    const bool whole = tile.cols == out_width_;
    for (std::int64_t y = 0; y < (whole ? 1 : tile.rows); ++y) {
      writer_.write_rows(room.sums.data() + y * tile.cols, planes_.sum_size(), first_row, rows,
                         column + y * out_width_ + tile.first_col,
                         whole ? tile.rows * tile.cols : tile.cols);
    }
  }

  const Kernels<Acc>& k_;
  DepthwiseWeights weights_;
  ConvGeometry geometry_;
  ImageView x_;
  std::int64_t out_width_, out_height_;
  DepthwisePlanes planes_;
  std::vector<std::int32_t> offsets_;
  ImageWriter<Acc> writer_;
};

}  // namespace sparsecore
