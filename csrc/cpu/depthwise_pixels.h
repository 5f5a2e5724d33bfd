// Rows of a depthwise convolution's result where the channels of a pixel lie together: vectors run
// over channels, and a tap is a vector of weights (depthwise.h says which convolutions these are).
//
// Layout of the weights: weights[tap * stride + channel], zero where none is stored, and a bit for
// each that is. What no weight meets is not read, so that it may be NaN.
// A tap's weights are loaded once for eight pixels; what it meets of the images, an aligned vector
// mostly, by the multiply-add itself or through a mask. Pixels that taps reach beyond the image's
// edge are summed one by one, with zeros there.
// Bytes: the image is read once a row of taps, from the second-level cache; the result is written
// once, finished. Flops: 2 * taps * elements of the result. Bound by loads.
#pragma once

#include "../kernels.h"
#include "activations.h"
#include "channel_lanes.h"

namespace sparsecore::SPARSECORE_TARGET {

// The taps that some pixels meet the image with: where of the first of them channel 0 lies, and the
// tap's weights.
struct MetTaps {
  std::int64_t count;
  const float* from[kMostDepthwiseTaps];
  std::int64_t weights[kMostDepthwiseTaps];  // from row.weights
};

// The weights of a tap for some vectors of channels.
template <class Part, int kVectors, bool kAllStored>
struct TapWeights {
  static constexpr int kLane = kLanes<float>;
  Vec<float> weight[kVectors];
  typename Part::Lanes lanes[kVectors];

  SPARSECORE_INLINE void load_from(const DepthwiseRow& row, std::int64_t at) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v, at += kLane) {
      weight[v] = load(row.weights + at);
      if constexpr (!kAllStored) {
        lanes[v] = typename Part::Lanes(std::uint32_t{row.stored[at / 16]} >> (at % 16));
      }
    }
  }
  SPARSECORE_INLINE void add_to(Vec<float>* sum, const float* from, Part part) const {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v, from += kLane) {
      if constexpr (kAllStored) {
        sum[v] = fma<float>(weight[v], part.load_from(from), sum[v]);
      } else {
        sum[v] = lanes[v].add_product(weight[v], from, sum[v]);
      }
    }
  }
};

// Sums of kPixels pixels by kVectors vectors of channels from c on: sum[p * kVectors + v].
template <int kPixels, int kVectors, bool kAllStored, class Part>
SPARSECORE_INLINE void sum_taps_of_pixels(const DepthwiseRow& row, const MetTaps& met,
                                          std::int64_t step, std::int64_t c, Part part,
                                          Vec<float>* sum) {
  for (std::int64_t t = 0; t < met.count; ++t) {
    TapWeights<Part, kVectors, kAllStored> weights;
    weights.load_from(row, met.weights[t] + c);
    const float* from = met.from[t] + c;
#pragma GCC unroll 8
    for (int p = 0; p < kPixels; ++p, from += step) {
      weights.add_to(sum + p * kVectors, from, part);
    }
  }
}

// Scale, bias, residual, and an activation that is no more than a comparison.
template <int kPixels, int kVectors, class Part>
SPARSECORE_INLINE void finish_pixels(const DepthwiseRow& row, std::int64_t x, std::int64_t c,
                                     Part part, Vec<float>* sum) {
  const LoadedEpilogue<float>& epilogue = *row.epilogue;
#pragma GCC unroll 2
  for (int v = 0; v < kVectors; ++v, c += kLanes<float>) {
    if (epilogue.scale != nullptr) {
      const Vec<float> scale = part.load_from(epilogue.scale + c);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) sum[p * kVectors + v] *= scale;
    }
    if (epilogue.bias != nullptr) {
      const Vec<float> bias = part.load_from(epilogue.bias + c);
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) sum[p * kVectors + v] += bias;
    }
    if (row.residual != nullptr) {
      const float* const residual = row.residual + x * row.residual_step + c;
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        sum[p * kVectors + v] += part.load_from(residual + p * row.residual_step);
      }
    }
    if (epilogue.activation == Activation::kRelu) {
#pragma GCC unroll 8
      for (int p = 0; p < kPixels; ++p) {
        Vec<float>& to = sum[p * kVectors + v];
        to = to < 0.0f ? Vec<float>{} : to;  // NaN passes
      }
    }
  }
}

template <int kPixels, int kVectors, class Part>
SPARSECORE_INLINE void make_pixels(const DepthwiseRow& row, const MetTaps& met, std::int64_t step,
                                   std::int64_t x, std::int64_t c, Part part) {
  Vec<float> sum[kPixels * kVectors] = {};
  if (row.all_stored) {
    sum_taps_of_pixels<kPixels, kVectors, true>(row, met, step, c, part, sum);
  } else {
    sum_taps_of_pixels<kPixels, kVectors, false>(row, met, step, c, part, sum);
  }
  finish_pixels<kPixels, kVectors>(row, x, c, part, sum);
  float* const out = row.out + x * row.out_step + c;
#pragma GCC unroll 8
  for (int p = 0; p < kPixels; ++p) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      part.store_to(out + p * row.out_step + v * kLanes<float>, sum[p * kVectors + v]);
    }
  }
}

// All channels of the pixels from column x of the result on; `step`, from one to the next in the
// image.
template <int kPixels>
void make_channels(const DepthwiseRow& row, const MetTaps& met, std::int64_t step, std::int64_t x) {
  constexpr int kVectors = kVectorBytes == 64 ? 2 : 1;  // of sums, sixteen registers
  constexpr std::int64_t kMany = kVectors * kLanes<float>;
  std::int64_t c = 0;
  for (; c + kMany <= row.channels; c += kMany) {
    make_pixels<kPixels, kVectors>(row, met, step, x, c, WholeVector{});
  }
  for (; c + kLanes<float> <= row.channels; c += kLanes<float>) {
    make_pixels<kPixels, 1>(row, met, step, x, c, WholeVector{});
  }
  if (c < row.channels) {
    make_pixels<kPixels, 1>(row, met, step, x, c, VectorPart{LaneMask<float>(row.channels - c)});
  }
  float* const out = row.out + x * row.out_step;
  if (row.epilogue->activation == Activation::kGelu) {
    for (int p = 0; p < kPixels; ++p) gelu_all(out + p * row.out_step, row.channels);
  } else if (row.epilogue->activation == Activation::kSilu) {
    for (int p = 0; p < kPixels; ++p) silu_all(out + p * row.out_step, row.channels);
  }
}

// What column x of the result meets. Zeros, too, stand beyond the image's edge where their product
// with a weight may be NaN.
SPARSECORE_INLINE void meet(const DepthwiseRow& row, std::int64_t x, MetTaps* met) {
  const ImageView& image = *row.image;
  const float* const data = static_cast<const float*>(image.data);
  const std::int64_t top = row.y * row.strides[0] - row.padding[0];
  const std::int64_t left = x * row.strides[1] - row.padding[1];
  std::int64_t count = 0, weights = 0;
  for (std::int64_t i = 0; i < row.kernel[0]; ++i) {
    const std::int64_t r = top + i * row.dilation[0];
    for (std::int64_t j = 0; j < row.kernel[1]; ++j, weights += row.stride) {
      const std::int64_t q = left + j * row.dilation[1];
      const bool inside = r >= 0 && r < image.height && q >= 0 && q < image.width;
      if (!inside && row.all_finite) continue;
      met->from[count] = inside ? data + r * image.row_stride + q * image.col_stride : row.zeros;
      met->weights[count++] = weights;
    }
  }
  met->count = count;
}

// Columns [begin, end) of the result, of which no tap passes the image's sides. Those that do not
// fill the last step are made with some that were made before.
template <int kPixels>
void make_inner(const DepthwiseRow& row, std::int64_t begin, std::int64_t end) {
  const std::int64_t step = row.strides[1] * row.image->col_stride;
  MetTaps met;
  meet(row, begin, &met);
  for (std::int64_t x = begin;;) {
    make_channels<kPixels>(row, met, step, x);
    if (x + kPixels >= end) return;
    const std::int64_t next = x + 2 * kPixels <= end ? x + kPixels : end - kPixels;
    for (std::int64_t t = 0; t < met.count; ++t) met.from[t] += (next - x) * step;
    x = next;
  }
}

// Columns whose taps are found one by one.
inline void make_outer(const DepthwiseRow& row, std::int64_t begin, std::int64_t end) {
  MetTaps met;
  for (std::int64_t x = begin; x < end; ++x) {
    meet(row, x, &met);
    make_channels<1>(row, met, 0, x);
  }
}

inline void depthwise_row(const DepthwiseRow& row) {
  // With zeros among what is met there is no one distance from pixel to pixel.
  const bool has_inner = row.all_finite && row.inner_begin < row.inner_end;
  const std::int64_t begin = has_inner ? row.inner_begin : row.end;
  const std::int64_t end = has_inner ? row.inner_end : row.end;
  make_outer(row, row.begin, begin);
  if (const std::int64_t count = end - begin; count >= 8) {
    make_inner<8>(row, begin, end);
  } else if (count >= 4) {
    make_inner<4>(row, begin, end);
  } else if (count > 0) {
    make_inner<1>(row, begin, end);
  }
  make_outer(row, end, row.end);
}

}  // namespace sparsecore::SPARSECORE_TARGET
