// Layers that follow one another, run in one call.
//
// What lies between them is kept in an arena, each result where one lay that is no longer needed.
// Small images go through all layers a few at a time, so that what one layer writes the next reads
// from the second-level cache.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "conv.h"
#include "plan.h"
#include "pool.h"

namespace sparsecore {

// A layer, of what others own; a pool has neither vectors nor a residual. Values are numbered: the
// chain's inputs, then each layer's result.
struct ChainLayer {
  std::variant<const ConvPlan*, const Plan*, const MaxPool*> plan;
  int input = 0;
  int residual = -1;  // negative: none
  VectorView scale;
  VectorView bias;
  Activation activation = Activation::kNone;
  bool pads = false;  // torch's pad of a slice, which keeps channels_last of some sizes only
};

class Chain {
 public:
  // Every layer reads values that are there before it, and every output is a layer's result; else
  // std::invalid_argument.
  Chain(int inputs, std::vector<ChainLayer> layers, std::vector<int> outputs);

  int inputs() const { return inputs_; }
  const std::vector<int>& outputs() const { return outputs_; }
  bool takes_images() const { return takes_images_; }
  // The layer whose result a value is.
  const ChainLayer& maker(int value) const {
    return layers_[static_cast<std::size_t>(value - inputs_)];
  }

  // The shapes and dtypes of all values, without memory; a row of a matrix is an image of one
  // pixel. Throws where an input does not fit.
  std::vector<ImageView> values(std::span<const ImageView> inputs) const;

  // Writes the outputs. `values` are values() of these inputs.
  void run(std::span<const ImageView> inputs, std::span<const ImageView> outputs,
           std::span<const ImageView> values, int threads) const;

 private:
  struct Arena;

  std::int64_t images_at_once(std::span<const ImageView> values, int threads) const;
  Arena arena_for(std::span<const ImageView> values, std::int64_t images) const;
  double ns(std::span<const ImageView> values) const;
  void run_layer(std::size_t number, std::span<const ImageView> values, std::int64_t of_images,
                 int threads) const;

  int inputs_;
  std::vector<ChainLayer> layers_;
  std::vector<int> outputs_;
  std::vector<int> last_use_;  // of each value: the layer, or their number for an output
  bool takes_images_;
};

}  // namespace sparsecore
