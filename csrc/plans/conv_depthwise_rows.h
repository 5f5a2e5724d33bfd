// The way of a depthwise convolution over images whose channels lie together: rows of the result,
// with vectors that run over channels (cpu/depthwise_pixels.h). Nothing is copied.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "../pages.h"
#include "conv_product.h"

namespace sparsecore {

// fp32 weights tap by tap, as the kernel wants them.
struct TapMajor {
  static constexpr std::int64_t kPerWord = 16;

  TapMajor(const CsrView& a, std::int64_t taps)
      : stride((a.rows + kPerWord - 1) / kPerWord * kPerWord),
        all_stored(a.nnz() == a.rows * taps),
        weights(taps * stride),
        stored(taps * stride / kPerWord) {
    std::fill_n(weights.data(), taps * stride, 0.0f);
    std::fill_n(stored.data(), taps * stride / kPerWord, std::uint16_t{0});
    const auto* const values = static_cast<const float*>(a.values);
    for (std::int64_t r = 0; r < a.rows; ++r) {
      for (std::int64_t e = a.offsets[r]; e < a.offsets[r + 1]; ++e) {
        const std::int64_t at = a.columns[e] * stride + r;
        weights[at] = values[e];
        all_finite &= std::isfinite(values[e]);
        stored[at / kPerWord] |= static_cast<std::uint16_t>(1u << (at % kPerWord));
      }
    }
  }
  std::int64_t nbytes(std::int64_t taps) const { return taps * stride * 4 + taps * stride / 8; }

  std::int64_t stride;
  bool all_stored, all_finite = true;
  Pages<float> weights;
  Pages<std::uint16_t> stored;
};

class DepthwiseRows {
 public:
  // Whether these images can be convolved so.
  static bool take(const Kernels<float>& k, const ImageView& x, const ConvEpilogue& epilogue,
                   const ImageView& out) {
    const ImageView& residual = epilogue.residual;
    return x.dtype == DType::kFloat32 && x.channels >= k.lanes && x.channel_stride == 1 &&
           out.channel_stride == 1 && (residual.data == nullptr || residual.channel_stride == 1);
  }

  DepthwiseRows(const TapMajor& weights, const ConvGeometry& geometry, const ImageView& x,
                const ConvEpilogue& epilogue, const ImageView& out)
      : k_(kernels<float>()),
        weights_(weights),
        geometry_(geometry),
        x_(x),
        residual_(epilogue.residual),
        out_(out),
        epilogue_(k_, {epilogue.scale, epilogue.bias, {}, epilogue.activation}),
        zeros_(static_cast<std::size_t>(weights.stride)) {}

  void run(int threads) const {
    const std::int64_t units = out_.images * out_.height;
    const double ns =
        product_ns(geometry_.taps() * x_.channels, x_.channels, out_.images * out_.pixels());
    const int useful = useful_threads(threads, ns);
    parallel_for(
        units, useful, ns, [&] { return even_bounds(units, useful, ns); },
        [&](std::int64_t begin, std::int64_t end) {
          for (std::int64_t u = begin; u < end;) {
            const std::int64_t y = u % out_.height;
            const std::int64_t rows = std::min(end - u, out_.height - y);
            convolve(u / out_.height, y, rows);
            u += rows;
          }
        });
  }

 private:
  static float* row_of(const ImageView& m, std::int64_t image, std::int64_t y) {
    if (m.data == nullptr) return nullptr;
    return static_cast<float*>(m.data) + image * m.image_stride + y * m.row_stride;
  }

  // Rows of taps meet the same pixels again: columns are taken so many at a time that these are in
  // the first-level cache still.
  void convolve(std::int64_t image, std::int64_t first, std::int64_t rows) const {
    constexpr std::int64_t kStripFloats = 6144, kLeast = 8;
    const std::int64_t met = x_.channels * geometry_.kernel[0] * geometry_.stride[1];
    const std::int64_t most = std::max(kStripFloats / met / kLeast, std::int64_t{1}) * kLeast;
    for (std::int64_t x = 0; x < out_.width; x += most) {
      for (std::int64_t y = first; y < first + rows; ++y) {
        convolve_row(image, y, x, std::min(out_.width, x + most));
      }
    }
  }

  void convolve_row(std::int64_t image, std::int64_t y, std::int64_t begin,
                    std::int64_t end) const {
    ImageView source = x_;
    source.data = row_of(x_, image, 0);
    const std::int64_t step = geometry_.stride[1], left = geometry_.padding[1];
    const std::int64_t room = x_.width + left - geometry_.span(1);  // for the first tap's column
    DepthwiseRow row{};
    row.image = &source;
    for (std::size_t axis = 0; axis < 2; ++axis) {
      row.kernel[axis] = geometry_.kernel[axis];
      row.strides[axis] = geometry_.stride[axis];
      row.padding[axis] = geometry_.padding[axis];
      row.dilation[axis] = geometry_.dilation[axis];
    }
    row.weights = weights_.weights.data();
    row.stored = weights_.stored.data();
    row.stride = weights_.stride;
    row.all_stored = weights_.all_stored;
    row.all_finite = weights_.all_finite;
    row.channels = x_.channels;
    row.zeros = zeros_.data();
    row.y = y;
    row.begin = begin;
    row.end = end;
    row.inner_begin = std::clamp((left + step - 1) / step, begin, end);
    row.inner_end = room < 0 ? begin : std::clamp(room / step + 1, begin, end);
    row.epilogue = &epilogue_.view();
    row.residual = row_of(residual_, image, y);
    row.residual_step = residual_.col_stride;
    row.out = row_of(out_, image, y);
    row.out_step = out_.col_stride;
    k_.depthwise_row(row);
  }

  const Kernels<float>& k_;
  const TapMajor& weights_;
  ConvGeometry geometry_;
  ImageView x_, residual_, out_;
  EpilogueLoader<float> epilogue_;
  std::vector<float> zeros_;
};

}  // namespace sparsecore
