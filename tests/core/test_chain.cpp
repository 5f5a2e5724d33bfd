// Layers in a row against the same one by one; and the pools among them.
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "chain.h"
#include "images.h"
#include "products.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

// Of a window, of which at least one element is in the image; a NaN is larger than all.
double largest(const Images& x, const ConvGeometry& g, Images::Shape at_) {
  double most = -std::numeric_limits<double>::infinity();
  const Index down = at_[2] * g.stride[0] - g.padding[0];
  const Index right = at_[3] * g.stride[1] - g.padding[1];
  for (Index y = std::max<Index>(down, 0); y < std::min(down + g.kernel[0], x.shape()[2]); ++y) {
    for (Index c = std::max<Index>(right, 0); c < std::min(right + g.kernel[1], x.shape()[3]);
         ++c) {
      const double value = x.get({at_[0], at_[1], y, c});
      if (std::isnan(value)) return value;
      most = std::max(most, value);
    }
  }
  return most;
}

void check_pool(DType dtype, const ConvGeometry& g, Index height, Index width, Index number) {
  Rng rng(static_cast<unsigned>(number));
  Images x = random_images(rng, dtype, {2, 3, height, width},
                           static_cast<ImageLayout>(number % kImageLayouts));
  x.set({1, 2, height / 2, width / 2}, std::numeric_limits<double>::quiet_NaN());
  const MaxPool pool(g);
  const ImageView size = pool.result("max_pool2d", x.view());
  const Images out(dtype, {2, 3, size.height, size.width},
                   static_cast<ImageLayout>(number / kImageLayouts % kEvenImageLayouts));
  INFO(dtype_name(dtype) << " " << height << " x " << width << ", kernel " << g.kernel[0] << " x "
                         << g.kernel[1] << ", number " << number);
  pool.run(x.view(), out.view(), 1 + static_cast<int>(number % 2));
  Index wrong = 0;
  out.for_each([&](const Images::Shape& where) {
    const double got = out.get(where), want = largest(x, g, where);
    wrong += got == want || (std::isnan(got) && std::isnan(want)) ? 0 : 1;
  });
  CHECK_EQ(wrong, 0);
  CHECK(out.gaps_are_untouched());
}

TEST_CASE("the largest of each window") {
  const std::vector<ConvGeometry> pools = {
      {{2, 2}, {2, 2}, {0, 0}}, {{3, 3}, {2, 2}, {1, 1}}, {{1, 5}, {1, 1}, {0, 2}},
      {{3, 2}, {1, 3}, {1, 1}}, {{4, 4}, {3, 2}, {2, 0}},
  };
  for_each_target([&] {
    Index number = 0;
    for (const DType dtype : {DType::kFloat32, DType::kFloat64}) {
      for (const Index width : sizes_around(lanes_of(dtype))) {
        const ConvGeometry& g = pools[at(number % std::ssize(pools))];
        const Index height = std::max(g.kernel[0], 2 + number % 5);
        check_pool(dtype, g, height, std::max(g.kernel[1], width), ++number);
      }
    }
  });
}

// A convolution, a pool, a convolution, and one that adds the pool's result.
struct Block {
  Block(Rng& rng, DType dtype)
      : first(layer(rng, dtype, 4, 3)),
        second(layer(rng, dtype, 4, 4)),
        third(layer(rng, dtype, 4, 4)),
        bias(random_array(rng, DType::kFloat32, 4)) {}

  static ConvPlan layer(Rng& rng, DType dtype, Index outputs, Index inputs) {
    const Sparse a = random_sparse(rng, dtype, outputs, 9 * inputs, 0.4);
    return {a.structure(), a.stored_values().data(), dtype, {{3, 3}, {1, 1}, {1, 1}}, 1};
  }
  std::vector<ChainLayer> layers() const {
    std::vector<ChainLayer> all(4);
    all[0].plan = &first;
    all[1].plan = &pool;
    all[2].plan = &second;
    all[3].plan = &third;
    for (int i = 0; i < 4; ++i) all[at(i)].input = i;
    all[0].activation = all[2].activation = Activation::kRelu;
    all[0].bias = all[3].bias = bias.view();
    all[3].residual = 2;
    return all;
  }

  ConvPlan first, second, third;
  MaxPool pool{{{2, 2}, {2, 2}, {0, 0}}};
  Array bias;
};

void check_chain(DType dtype, const Images::Shape& shape, int threads) {
  Rng rng(static_cast<unsigned>(shape[0] + 10 * shape[2]));
  const Block block(rng, dtype);
  const Images x = random_images(rng, DType::kFloat32, shape);
  const Images::Shape half{shape[0], 4, shape[2] / 2, shape[3] / 2};
  const Images a(DType::kFloat32, {shape[0], 4, shape[2], shape[3]}), b(DType::kFloat32, half),
      c(DType::kFloat32, half), want(DType::kFloat32, half), got(DType::kFloat32, half);
  const auto run = [](const ConvPlan& plan, const Images& from, const ConvEpilogue& epilogue,
                      const Images& to) {
    conv2d(plan, {.x = from.view(), .epilogue = epilogue, .out = to.view(), .name = "c"});
  };
  run(block.first, x, {{}, block.bias.view(), {}, Activation::kRelu}, a);
  block.pool.run(a.view(), b.view(), 1);
  run(block.second, b, {{}, {}, {}, Activation::kRelu}, c);
  run(block.third, c, {{}, block.bias.view(), b.view(), Activation::kNone}, want);
  const Chain chain(1, block.layers(), {4});
  const std::vector<ImageView> inputs{x.view()}, outputs{got.view()};
  chain.run(inputs, outputs, chain.values(inputs), threads);
  Index different = 0;
  got.for_each(
      [&](const Images::Shape& where) { different += got.get(where) == want.get(where) ? 0 : 1; });
  INFO(shape[0] << " images of " << shape[2] << " x " << shape[3] << ", threads " << threads);
  CHECK_EQ(different, 0);
  CHECK(got.gaps_are_untouched());
}

TEST_CASE("a chain gives the bits of its layers, in any number of chunks") {
  for_each_target([] {
    for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
      for (const Index images : either({0, 1, 2, 5, 40}, {2})) {
        for (const int threads : {1, 2}) {
          check_chain(dtype, {images, 3, 6, 5}, threads);
          if (!are_few()) check_chain(dtype, {images, 3, 34, 32}, threads);
        }
      }
    }
  });
}

TEST_CASE("chains that cannot be run are refused") {
  Rng rng(1);
  const Block block(rng, DType::kFloat32);
  std::vector<ChainLayer> layers = block.layers();
  CHECK_THROWS_AS(Chain(1, layers, {0}), std::invalid_argument);
  CHECK_THROWS_AS(Chain(1, layers, {5}), std::invalid_argument);
  layers[0].input = 1;
  CHECK_THROWS_AS(Chain(1, layers, {4}), std::invalid_argument);
  CHECK_THROWS_AS(MaxPool({{2, 2}, {2, 2}, {2, 0}}), std::invalid_argument);
}

}  // namespace
}  // namespace sparsecore::testing
