// What kernels of depthwise convolutions (depthwise.h) are given.
#pragma once

#include <cstdint>

#include "image.h"
#include "views.h"

namespace sparsecore {

template <class Acc>
struct LoadedEpilogue;  // kernels.h

// A vector of a depthwise convolution's result (depthwise.h): where in a channel's planes its first
// tap lies, and where its sums go.
struct DepthwiseVector {
  std::int32_t source, target;
};
constexpr int kDepthwiseVectors = 8;              // that a kernel sums at once
constexpr std::int64_t kMostDepthwiseTaps = 256;  // numbers fit a byte

// The sums of some output channels (cpu/depthwise.h).
template <class Acc>
struct DepthwiseTile {
  IndexView row_starts;      // of the weights
  const std::uint8_t* taps;  // of all entries
  const void* values;        // likewise
  DType dtype;
  std::int64_t first_row, rows;
  std::int64_t multiplier;      // rows of a channel
  const std::int32_t* offsets;  // by tap
  const Acc* planes;            // of the first row's channel, which is at its first row
  std::int64_t channel_size;
  const DepthwiseVector* vectors;
  std::int64_t vector_count;  // a multiple of kDepthwiseVectors
  Acc* sums;                  // sums[(r - first_row) * sums_stride + target]
  std::int64_t sums_stride;
};

// A row of a depthwise convolution's result whose pixels' channels lie together, like the image's
// (cpu/depthwise_pixels.h).
struct DepthwiseRow {
  const ImageView* image;                                       // one image, fp32
  std::int64_t kernel[2], strides[2], padding[2], dilation[2];  // vertical, horizontal
  const float* weights;         // weights[tap * stride + channel], zero where none is stored
  const std::uint16_t* stored;  // one bit each, sixteen channels an item
  std::int64_t stride;          // a multiple of 16
  bool all_stored, all_finite;
  std::int64_t channels;
  const float* zeros;                     // of so many channels
  std::int64_t y, begin, end;             // of the result: its row, and some columns
  std::int64_t inner_begin, inner_end;    // those where no tap passes the image's sides
  const LoadedEpilogue<float>* epilogue;  // its residual is here:
  const float* residual;                  // of the row's first pixel
  std::int64_t residual_step;             // from pixel to pixel
  float* out;
  std::int64_t out_step;
};

}  // namespace sparsecore
