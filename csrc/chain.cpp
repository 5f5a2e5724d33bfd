#include "chain.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#include "block_pool.h"
#include "ops.h"
#include "parallel.h"
#include "plans/accumulate.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

// What images on their way may take of the second-level cache, which planes and sums share.
constexpr Index kCachedBytes = Index{512} << 10;
constexpr Index kLine = 64, kPage = 4096;
constexpr int kChunksPerThread = 2;

template <class T>
const T* as(const ChainLayer& layer) {
  const auto* const plan = std::get_if<const T*>(&layer.plan);
  return plan == nullptr ? nullptr : *plan;
}

bool takes_images(const ChainLayer& layer) { return as<Plan>(layer) == nullptr; }

double layer_ns(const ChainLayer& layer, const ImageView& y) {
  const Index columns = y.images * y.pixels();
  if (as<MaxPool>(layer) != nullptr) return copy_ns(y.channels * columns);
  const PlanShape shape =
      as<Plan>(layer) != nullptr ? as<Plan>(layer)->shape() : as<ConvPlan>(layer)->shape();
  return product_ns(shape.nnz, shape.rows, columns);
}

// The distance between channels, in elements: images of a channel follow one another, so that tiles
// of columns cross from one to the next. Whole pages would put all channels into the same lines of
// the first-level cache.
Index channel_stride(const ImageView& value, Index images) {
  const Index line = kLine / item_size(value.dtype);
  const Index stride = (images * value.pixels() + line - 1) / line * line;
  return stride * item_size(value.dtype) % kPage == 0 ? stride + line : stride;
}

// Rows of matrices are rows of their arena, too.
ImageView placed(ImageView value, std::byte* memory, Index most_images, bool as_images) {
  value.data = memory;
  value.image_stride = as_images ? value.pixels() : value.channels;
  value.channel_stride = as_images ? channel_stride(value, most_images) : 1;
  value.row_stride = value.width;
  value.col_stride = 1;
  return value;
}

ImageView some_images(ImageView m, Index first, Index most) {
  if (m.data != nullptr) {
    m.data = static_cast<std::byte*>(m.data) + first * m.image_stride * item_size(m.dtype);
  }
  m.images = std::min(most, m.images - first);
  return m;
}

bool same_shape(const ImageView& a, const ImageView& b) {
  return a.images == b.images && a.channels == b.channels && a.height == b.height &&
         a.width == b.width;
}

std::string shape_text(const ImageView& m, bool as_images) {
  std::string text = "(" + std::to_string(m.images) + ", " + std::to_string(m.channels);
  if (as_images) text += ", " + std::to_string(m.height) + ", " + std::to_string(m.width);
  return text + ")";
}

// The shape and dtype of a layer's result.
ImageView result_of(const ChainLayer& layer, const ImageView& x) {
  const bool has_scale = layer.scale.data != nullptr;
  if (const auto* const pool = as<MaxPool>(layer)) return pool->result("max_pool2d", x);
  ImageView y;
  if (const auto* const plan = as<ConvPlan>(layer)) {
    y.dtype = product_dtype("conv2d", plan->dtype(), x.dtype, has_scale);
    const auto shape = conv_shape("conv2d", *plan, x);
    std::tie(y.images, y.channels, y.height, y.width) = std::tuple_cat(shape);
    return y;
  }
  const Plan& plan = *as<Plan>(layer);
  y.dtype = product_dtype("linear", plan.dtype(), x.dtype, has_scale);
  if (x.channels != plan.shape().cols) {
    throw std::invalid_argument("linear: x has " + std::to_string(x.channels) +
                                " features, A has " + std::to_string(plan.shape().cols) +
                                " columns");
  }
  y.images = x.images;
  y.channels = plan.shape().rows;
  y.height = y.width = 1;
  return y;
}

MatrixView features_by_rows(const ImageView& m) {
  if (m.data == nullptr) return {};
  return {m.data, m.dtype, m.channels, m.images, m.channel_stride, m.image_stride};
}

}  // namespace

// Where the values between layers lie, in bytes; negative: not here.
struct Chain::Arena {
  std::vector<Index> places;
  Index bytes = 0;
};

Chain::Chain(int inputs, std::vector<ChainLayer> layers, std::vector<int> outputs)
    : inputs_(inputs),
      layers_(std::move(layers)),
      outputs_(std::move(outputs)),
      last_use_(static_cast<std::size_t>(inputs) + layers_.size(), -1),
      takes_images_(!layers_.empty() && sparsecore::takes_images(layers_[0])) {
  const int count = static_cast<int>(layers_.size());
  for (int i = 0; i < count; ++i) {
    const ChainLayer& layer = layers_[static_cast<std::size_t>(i)];
    if (layer.input < 0 || std::max(layer.input, layer.residual) >= inputs + i) {
      throw std::invalid_argument("chain: layer " + std::to_string(i) +
                                  " reads a value that is not there before it");
    }
    last_use_[static_cast<std::size_t>(layer.input)] = i;
    if (layer.residual >= 0) last_use_[static_cast<std::size_t>(layer.residual)] = i;
    if (sparsecore::takes_images(layer) != takes_images_) {
      throw std::invalid_argument("chain: all layers take images, or none does");
    }
  }
  for (const int output : outputs_) {
    if (output < inputs || output >= inputs + count) {
      throw std::invalid_argument("chain: output " + std::to_string(output) +
                                  " is no layer's result");
    }
    last_use_[static_cast<std::size_t>(output)] = count;
  }
}

std::vector<ImageView> Chain::values(std::span<const ImageView> inputs) const {
  std::vector<ImageView> values(inputs.begin(), inputs.end());
  values.reserve(last_use_.size());
  for (const ChainLayer& layer : layers_) {
    const ImageView y = result_of(layer, values[static_cast<std::size_t>(layer.input)]);
    if (layer.residual >= 0) {
      const ImageView& residual = values[static_cast<std::size_t>(layer.residual)];
      if (!same_shape(residual, y)) {
        throw std::invalid_argument(std::string(takes_images_ ? "conv2d" : "linear") +
                                    ": residual has shape " + shape_text(residual, takes_images_) +
                                    ", expected " + shape_text(y, takes_images_));
      }
    }
    values.push_back(y);
  }
  return values;
}

// First fit: a result lies in the lowest gap between those that are still needed.
Chain::Arena Chain::arena_for(std::span<const ImageView> values, Index images) const {
  struct Block {
    Index begin, end;
    int last_use;
  };
  std::vector<Block> blocks;  // by their places
  Arena arena{std::vector<Index>(values.size(), -1)};
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const int layer = static_cast<int>(i);
    const std::size_t number = static_cast<std::size_t>(inputs_) + i;
    std::erase_if(blocks, [&](const Block& block) { return block.last_use < layer; });
    if (last_use_[number] == static_cast<int>(layers_.size())) continue;  // an output
    const ImageView& value = values[number];
    const Index bytes =
        takes_images_
            ? value.channels * channel_stride(value, images) * item_size(value.dtype)
            : (images * value.channels * item_size(value.dtype) + kLine - 1) / kLine * kLine;
    Index begin = 0;
    auto where = blocks.begin();
    for (; where != blocks.end() && where->begin < begin + bytes; ++where) begin = where->end;
    blocks.insert(where, {begin, begin + bytes, last_use_[number]});
    arena.places[number] = begin;
    arena.bytes = std::max(arena.bytes, begin + bytes);
  }
  return arena;
}

double Chain::ns(std::span<const ImageView> values) const {
  double sum = 0;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const ImageView& y = values[static_cast<std::size_t>(inputs_) + i];
    sum += layer_ns(layers_[i], y);
  }
  return sum;
}

// As many images as fit the cache; all where not even one does, as then weights are read least.
Index Chain::images_at_once(std::span<const ImageView> values, int threads) const {
  Index images = 0;
  bool same = takes_images_;
  for (const ImageView& value : values) {
    images = std::max(images, value.images);
    same &= value.images == values[0].images;
  }
  if (!same || images <= 1) return std::max<Index>(images, 1);
  const Index fit = kCachedBytes / std::max<Index>(arena_for(values, 1).bytes, 1);
  if (fit == 0) return images;
  const Index chunks = threads > 1 ? Index{kChunksPerThread} * threads : 1;
  return std::clamp<Index>(std::min(fit, images / chunks), 1, images);
}

void Chain::run_layer(std::size_t number, std::span<const ImageView> values, Index of_images,
                      int threads) const {
  const ChainLayer& layer = layers_[number];
  const ImageView& x = values[static_cast<std::size_t>(layer.input)];
  const ImageView& y = values[static_cast<std::size_t>(inputs_) + number];
  const ImageView residual =
      layer.residual < 0 ? ImageView{} : values[static_cast<std::size_t>(layer.residual)];
  if (const auto* const pool = as<MaxPool>(layer)) return pool->run(x, y, threads);
  if (const auto* const plan = as<ConvPlan>(layer)) {
    return conv2d(*plan, {.x = x,
                          .epilogue = {layer.scale, layer.bias, residual, layer.activation},
                          .out = y,
                          .threads = threads,
                          .name = "conv2d",
                          .of_images = of_images});
  }
  plan_matmul(*as<Plan>(layer),
              {.x = features_by_rows(x),
               .epilogue = {layer.scale, layer.bias, features_by_rows(residual), layer.activation},
               .out = features_by_rows(y),
               .threads = threads,
               .name = "linear"});
}

void Chain::run(std::span<const ImageView> inputs, std::span<const ImageView> outputs,
                std::span<const ImageView> values, int threads) const {
  const double ns = this->ns(values);
  const int useful = useful_threads(threads, ns);
  const Index step = images_at_once(values, useful);
  // (Inputs of several sizes go through all at once: the largest counts.)
  Index images = 0;
  for (const ImageView& value : values) images = std::max(images, value.images);
  const Index chunks = (images + step - 1) / step;
  const Arena arena = arena_for(values, step);
  const auto run_chunks = [&](Index begin, Index end, int layer_threads) {
    const BlockPool::Block memory = BlockPool::take(static_cast<std::size_t>(arena.bytes));
    std::vector<ImageView> whole(values.begin(), values.end());
    std::copy(inputs.begin(), inputs.end(), whole.begin());
    for (std::size_t o = 0; o < outputs.size(); ++o) {
      whole[static_cast<std::size_t>(outputs_[o])] = outputs[o];
    }
    std::vector<ImageView> parts(whole.size());
    for (Index first = begin * step; first < std::min(end * step, images); first += step) {
      for (std::size_t v = 0; v < parts.size(); ++v) {
        parts[v] = some_images(whole[v], first, step);
        if (arena.places[v] < 0) continue;
        parts[v] = placed(parts[v], memory.get() + arena.places[v], step, takes_images_);
      }
      for (std::size_t i = 0; i < layers_.size(); ++i) {
        run_layer(i, parts, whole[static_cast<std::size_t>(inputs_) + i].images, layer_threads);
      }
    }
  };
  if (useful > 1 && chunks >= useful) {
    return parallel_for(even_bounds(chunks, useful, ns), useful,
                        [&](Index begin, Index end) { run_chunks(begin, end, 1); });
  }
  run_chunks(0, chunks, threads);
}

}  // namespace sparsecore
