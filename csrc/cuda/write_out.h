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

// The value of (row, column) of the result whose sum is `sum`.
template <class Acc>
__device__ __forceinline__ Acc finished(Acc sum, const Epilogue& epilogue, std::int64_t row,
                                        std::int64_t column) {
  if (epilogue.scale.data != nullptr) {
    sum *= load_as<Acc>(epilogue.scale.data, epilogue.scale.dtype, row * epilogue.scale.stride);
  }
  if (epilogue.bias.data != nullptr) {
    sum += load_as<Acc>(epilogue.bias.data, epilogue.bias.dtype, row * epilogue.bias.stride);
  }
  const MatrixView& residual = epilogue.residual;
  if (residual.data != nullptr) {
    sum += load_as<Acc>(residual.data, residual.dtype,
                        row * residual.row_stride + column * residual.col_stride);
  }
  return activated(sum, epilogue.activation);
}

}  // namespace sparsecore::cuda
