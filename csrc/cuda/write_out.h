// What happens to a product between its sums and memory (epilogue.h), on the device.
#pragma once

#include <cmath>

#include "../epilogue.h"
#include "scalars.h"

namespace sparsecore::cuda {

__device__ __forceinline__ float activated(float v, Activation activation) {
  switch (activation) {
    case Activation::kRelu:
      return v > 0 || v != v ? v : 0.0f;
    case Activation::kGelu:
      return 0.5f * v * (1 + erff(v * 0.70710678118654752f));
    case Activation::kSilu:
      return v / (1 + expf(-v));
    default:
      return v;
  }
}
__device__ __forceinline__ double activated(double v, Activation activation) {
  switch (activation) {
    case Activation::kRelu:
      return v > 0 || v != v ? v : 0.0;
    case Activation::kGelu:
      return 0.5 * v * (1 + erf(v * 0.70710678118654752440));
    case Activation::kSilu:
      return v / (1 + exp(-v));
    default:
      return v;
  }
}
__device__ __forceinline__ std::int32_t activated(std::int32_t v, Activation) { return v; }

// What follows the sums of one row of the result; Out is the result's type, which residual shares.
template <class Acc, class Out>
class RowEnd {
 public:
  __device__ __forceinline__ RowEnd(const Epilogue& epilogue, std::int64_t row)
      : residual_(static_cast<const Out*>(epilogue.residual.data)),
        residual_stride_(epilogue.residual.col_stride),
        activation_(epilogue.activation) {
    const VectorView &scale = epilogue.scale, &bias = epilogue.bias;
    if (scale.data != nullptr) scale_ = load_as<Acc>(scale.data, scale.dtype, row * scale.stride);
    if (bias.data != nullptr) bias_ = load_as<Acc>(bias.data, bias.dtype, row * bias.stride);
    if (residual_ != nullptr) residual_ += row * epilogue.residual.row_stride;
  }

  // Replaces the sums of columns `column` ... column + kCount - 1 by what is stored.
  template <int kCount>
  __device__ __forceinline__ void finish(Acc (&sums)[kCount], std::int64_t column) const {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      sums[i] = sums[i] * scale_ + bias_;
      if (residual_ != nullptr) {
        sums[i] += widened<Acc>(residual_[(column + i) * residual_stride_]);
      }
    }
    if (activation_ == Activation::kNone) return;
#pragma unroll
    for (int i = 0; i < kCount; ++i) sums[i] = activated(sums[i], activation_);
  }
  __device__ __forceinline__ Acc finished(Acc sum, std::int64_t column) const {
    Acc sums[1] = {sum};
    finish(sums, column);
    return sums[0];
  }

 private:
  Acc scale_ = 1, bias_ = -Acc{0};  // which adds nothing, not even to the sign of a zero
  const Out* residual_;
  std::int64_t residual_stride_;
  Activation activation_;
};

}  // namespace sparsecore::cuda
