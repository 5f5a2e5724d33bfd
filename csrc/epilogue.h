// What happens to a product between the accumulators and memory.
#pragma once

#include "views.h"

namespace sparsecore {

enum class Activation : std::uint8_t { kNone, kRelu, kGelu, kSilu };

// y = activation(product * scale[row] + bias[row] + residual[row][column]); absent parts are
// skipped. Rows are rows of the product's left matrix, that is, output features.
struct Epilogue {
  VectorView scale;
  VectorView bias;
  MatrixView residual;  // data == nullptr: absent
  Activation activation = Activation::kNone;

  SPARSECORE_INLINE bool empty() const {
    return scale.data == nullptr && bias.data == nullptr && residual.data == nullptr &&
           activation == Activation::kNone;
  }
};

}  // namespace sparsecore
