// Convolutions, as products of a group's weights and the patches of its channels.
#include <cmath>
#include <limits>

#include "conv.h"
#include "images.h"
#include "products.h"
#include "targets.h"

namespace sparsecore::testing {
namespace {

struct Sizes {
  Index out_channels, channels, images, height, width;
};

// Weights, and the plan that is made of them.
struct Weights {
  Weights(Rng& rng, DType dtype, const ConvGeometry& g, const Sizes& s, double density)
      : geometry(g),
        a(random_sparse(rng, dtype, s.out_channels, s.channels / g.groups * g.taps(), density)),
        plan(a.structure(), a.stored_values().data(), dtype, g, 1) {}
  // The rows of a group.
  Sparse group(Index number) const {
    const Index rows = a.rows / geometry.groups;
    Sparse part(a.dtype, a.cols);
    for (Index r = number * rows; r < (number + 1) * rows; ++r) {
      for (Index p = a.offsets[at(r)]; p < a.offsets[at(r + 1)]; ++p) {
        part.add_entry(a.columns[at(p)], a.values[at(p)]);
      }
      part.end_row();
    }
    return part;
  }

  ConvGeometry geometry;
  Sparse a;
  ConvPlan plan;
};

Images::Shape shape_of_result(const Weights& w, const Images& x) {
  return {x.shape()[0], w.a.rows, w.geometry.out_size(0, x.shape()[2]),
          w.geometry.out_size(1, x.shape()[3])};
}

struct ConvParts {
  const Array* scale = nullptr;
  const Array* bias = nullptr;
  const Images* residual = nullptr;
};

void run(const Weights& w, const Images& x, const ConvParts& parts, const Images& out,
         int threads = 1) {
  ConvCall call{.x = x.view(), .epilogue = {}, .out = out.view(), .threads = threads, .name = "c"};
  if (parts.scale != nullptr) call.epilogue.scale = parts.scale->view();
  if (parts.bias != nullptr) call.epilogue.bias = parts.bias->view();
  if (parts.residual != nullptr) call.epilogue.residual = parts.residual->view();
  conv2d(w.plan, call);
}

Array part_of(const Array& all, Index first, Index count) {
  Array part(all.dtype(), count);
  for (Index i = 0; i < count; ++i) part.set(i, all.get(first + i));
  return part;
}

// Empty where `out` is what it must be.
std::string conv_mismatch(const Weights& w, const Images& x, const ConvParts& parts,
                          const Images& out) {
  const Index rows = w.a.rows / w.geometry.groups, channels = x.shape()[1] / w.geometry.groups;
  for (Index g = 0; g < w.geometry.groups; ++g) {
    EpilogueParts epilogue;
    Array scale(DType::kFloat32, 0), bias(DType::kFloat32, 0);
    Dense residual(DType::kFloat32, 0, 0);
    if (parts.scale != nullptr) {
      scale = part_of(*parts.scale, g * rows, rows);
      epilogue.scale = &scale;
    }
    if (parts.bias != nullptr) {
      bias = part_of(*parts.bias, g * rows, rows);
      epilogue.bias = &bias;
    }
    if (parts.residual != nullptr) {
      residual = parts.residual->rows(g * rows, rows);
      epilogue.residual = &residual;
    }
    const std::string mismatch =
        product_mismatch(w.group(g), patches_of(x, w.geometry, g * channels, channels), epilogue,
                         out.rows(g * rows, rows));
    if (!mismatch.empty()) return "group " + std::to_string(g) + ": " + mismatch;
  }
  return out.gaps_are_untouched() ? "" : "something between the result's elements was written";
}

// A random convolution is right; `number` picks memory orders, and what is added to the sums.
void check_conv(const Mix& mix, const ConvGeometry& g, const Sizes& s, double density,
                Index number) {
  Rng rng(static_cast<unsigned>(number));
  const Weights w(rng, mix.values, g, s, density);
  const Images x =
      random_images(rng, mix.x, {s.images, s.channels, s.height, s.width},
                    static_cast<ImageLayout>(number % kImageLayouts), shift_of(number));
  const DType result = result_dtype(mix.values, mix.x);
  const Images::Shape shape = shape_of_result(w, x);
  const Images out(result, shape,
                   static_cast<ImageLayout>(number / kImageLayouts % kEvenImageLayouts),
                   shift_of(number + 1));
  const Array scale = random_array(rng, DType::kFloat32, w.a.rows, 1.0 / 64);
  const Array bias = random_array(rng, DType::kFloat32, w.a.rows);
  const Images residual =
      random_images(rng, result == DType::kInt32 ? DType::kInt8 : result, shape,
                    static_cast<ImageLayout>(number % kEvenImageLayouts), shift_of(number + 2));
  const bool adds = result != DType::kInt32 && number % 3 != 0;
  const ConvParts parts{mix.is_scaled ? &scale : nullptr, adds ? &bias : nullptr,
                        adds ? &residual : nullptr};
  INFO(dtype_name(mix.values) << " by " << dtype_name(mix.x) << ", " << s.out_channels << " of "
                              << s.channels << ", " << s.images << " images " << s.height << " x "
                              << s.width << ", kernel " << g.kernel[0] << " x " << g.kernel[1]
                              << ", groups " << g.groups << ", number " << number);
  run(w, x, parts, out);
  CHECK_EQ(conv_mismatch(w, x, parts, out), "");
}

const ConvGeometry kGeometries[] = {
    {{1, 1}, {1, 1}, {0, 0}, {1, 1}, 1}, {{3, 3}, {1, 1}, {1, 1}, {1, 1}, 1},
    {{3, 3}, {2, 2}, {1, 1}, {1, 1}, 1}, {{1, 3}, {1, 2}, {0, 4}, {1, 2}, 2},
    {{5, 2}, {3, 1}, {6, 1}, {2, 1}, 1}, {{2, 3}, {1, 3}, {1, 0}, {1, 1}, 4},
};

TEST_CASE("convolutions of all widths around a vector") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : kMixes) {
      const Index lanes = lanes_of(summed_in(mix.values, mix.x));
      for (const Index width : sizes_around(lanes)) {
        const ConvGeometry& g = kGeometries[at(number % std::ssize(kGeometries))];
        const Index least = std::max<Index>(1, g.span(1) - 2 * g.padding[1]);
        const Index height = std::max<Index>(1 + number % 4, g.span(0) - 2 * g.padding[0]);
        const Sizes sizes{4 + 4 * (number % 2), 4, 1 + number % 3, height, std::max(width, least)};
        check_conv(mix, g, sizes, number % 4 == 0 ? 1 : 0.4, number);
        ++number;
      }
    }
  });
}

// Past 128 output channels, 512 inner columns and the widest tile; images end inside of a tile.
TEST_CASE("convolutions of several blocks") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : {kMixes[1], kMixes[4], kMixes[0], kMixes[9]}) {
      if (are_few() && number > 1) continue;
      for (const auto& [g, density] : {std::pair(kGeometries[1], 0.05), {kGeometries[2], 0.3}}) {
        check_conv(mix, g, {are_few() ? 20 : 150, 62, 3, 7, 9}, density, ++number);
        number += kImageLayouts;
      }
    }
  });
}

// Results whole vectors wide are read from planes of the image, strip by strip.
TEST_CASE("convolutions whose taps lie in planes") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : {kMixes[1], kMixes[4], kMixes[0], kMixes[9]}) {
      for (const ConvGeometry& g : {kGeometries[1], kGeometries[2], kGeometries[4]}) {
        const Index width = 15 * g.stride[1] + g.span(1) - 2 * g.padding[1];
        check_conv(mix, g, {8, 4, 2, 6, width}, 0.4, ++number);
        if (!are_few()) check_conv(mix, g, {140, 90, 1, 9, width}, 0.05, ++number);
      }
    }
  });
}

TEST_CASE("convolutions of nothing, and of a channel a group") {
  for_each_target([] {
    Index number = 0;
    for (const Mix& mix : {kMixes[1], kMixes[4], kMixes[5], kMixes[7]}) {
      const ConvGeometry& g = kGeometries[1];
      check_conv(mix, g, {5, 3, 2, 3, 4}, 0, ++number);
      check_conv(mix, g, {5, 3, 0, 3, 4}, 0.5, ++number);
      check_conv(mix, g, {0, 3, 2, 3, 4}, 0.5, ++number);
      check_conv(mix, g, {5, 0, 2, 3, 4}, 0.5, ++number);
      check_conv(mix, kGeometries[4], {5, 3, 2, 0, 1}, 0.5, ++number);
      for (const Index channels : either({1, 7, 19, 37}, {1, 19})) {
        ConvGeometry each = kGeometries[1];
        each.groups = channels;
        for (const Index outputs : {channels, 2 * channels}) {
          for (int layout = 0; layout < (are_few() ? 2 : kImageLayouts); ++layout) {
            check_conv(mix, each, {outputs, channels, 2, 5, 11}, 0.6, ++number);
          }
        }
      }
    }
  });
}

// One pixel is NaN or infinite: it reaches the results in which a stored weight meets it, alone.
TEST_CASE("what images hold where no weight meets it") {
  for_each_target([] {
    for (const Mix& mix : {kMixes[0], kMixes[1], kMixes[2], kMixes[6]}) {
      for (const ConvGeometry& g : {kGeometries[1], kGeometries[2], kGeometries[3]}) {
        for (const ImageLayout layout : {ImageLayout::kPlanes, ImageLayout::kPixels}) {
          Rng rng(21);
          const Weights w(rng, mix.values, g, {8, 4, 2, 4, 9}, 0.2);
          Images x = random_images(rng, mix.x, {2, 4, 4, 9}, layout);
          const Images clean(mix.x, shape_of_result(w, x)), got(mix.x, clean.shape());
          run(w, x, {}, clean);
          for (const Index place : either({0, 4, 8, 13, 35}, {4})) {
            const Images::Shape where{place % 2, place % 4, place / 9, place % 9};
            const double kept = x.get(where);
            const double poison =
                place == 0 ? std::nan("") : std::numeric_limits<double>::infinity();
            x.set(where, poison);
            run(w, x, {}, got);
            CHECK_EQ(conv_mismatch(w, x, {}, got), "");
            const Index channels = 4 / g.groups;
            const Dense met = patches_of(x, g, where[1] / channels * channels, channels);
            got.for_each([&](const Images::Shape& at_) {
              const Index group = at_[1] / (8 / g.groups);
              const Index column = at_[0] * got.pixels() + at_[2] * got.shape()[3] + at_[3];
              bool reaches = false;
              for (Index k = 0; k < met.rows() && group == where[1] / channels; ++k) {
                reaches |= !std::isfinite(met.get(k, column)) && w.a.holds(at_[1], k);
              }
              if (!reaches) CHECK_EQ(got.get(at_), clean.get(at_));
            });
            x.set(where, kept);
          }
        }
      }
    }
  });
}

TEST_CASE("convolutions on one, two and three threads") {
  for_each_target([] {
    for (const Mix& mix : {kMixes[1], kMixes[4]}) {
      for (const Sizes& s : {Sizes{260, 40, 1, 5, 6}, Sizes{30, 20, 3, 17, 18}}) {
        if (are_few() && s.images > 1) continue;
        for (const Index groups : {1, 2}) {
          ConvGeometry g = kGeometries[1];
          g.groups = groups;
          Rng rng(22);
          const Weights w(rng, mix.values, g, s, 0.4);
          const Images x = random_images(rng, mix.x, {s.images, s.channels, s.height, s.width});
          std::vector<std::byte> first;
          for (const int threads : {1, 2, 3}) {
            const Images out(result_dtype(mix.values, mix.x), shape_of_result(w, x));
            run(w, x, {}, out, threads);
            if (threads == 1) first = out.rows(0, s.out_channels).bits();
            CHECK(out.rows(0, s.out_channels).bits() == first);
          }
        }
      }
    }
  });
}

TEST_CASE("plans of convolutions give back their weights, and take new ones") {
  for (const DType dtype : kDTypes) {
    for (const ConvGeometry& g : {kGeometries[1], kGeometries[3]}) {
      Rng rng(23);
      Weights w(rng, dtype, g, {140, 8, 1, 3, 3}, 0.4);
      const Array unpacked(dtype, w.a.nnz());
      w.plan.unpack(unpacked.data(), 2);
      for (Index p = 0; p < w.a.nnz(); ++p) CHECK_EQ(unpacked.get(p), w.a.values[at(p)]);
      CHECK_EQ(structure_mismatch(w.a, *w.plan.structure()), "");
      for (double& value : w.a.values) value = random_number(rng, dtype);
      w.plan.update(w.a.stored_values().data(), 1);
      const Images x = random_images(rng, dtype, {1, 8, 6, 7});
      const Images out(result_dtype(dtype, dtype), shape_of_result(w, x));
      run(w, x, {}, out);
      CHECK_EQ(conv_mismatch(w, x, {}, out), "");
    }
  }
}

TEST_CASE("geometries that do not fit the weights or the images") {
  const PlanShape weights{4, 18, 0};
  const ConvGeometry good{{3, 3}, {1, 1}, {1, 1}, {1, 1}, 2};
  check_geometry("c", good, weights);
  constexpr Index kHuge = std::numeric_limits<Index>::max();
  for (const Index bad : {Index{-1}, Index{0}, Index{1} << 31, kHuge, -kHuge}) {
    for (const std::size_t axis : {0, 1}) {
      for (ConvGeometry::Pair ConvGeometry::* const member :
           {&ConvGeometry::kernel, &ConvGeometry::stride, &ConvGeometry::padding,
            &ConvGeometry::dilation}) {
        if (member == &ConvGeometry::padding && bad == 0) continue;
        ConvGeometry g = good;
        (g.*member)[axis] = bad;
        CHECK_THROWS_AS(check_geometry("c", g, weights), std::invalid_argument);
      }
    }
    ConvGeometry g = good;
    g.groups = bad;
    CHECK_THROWS_AS(check_geometry("c", g, weights), std::invalid_argument);
    CHECK_THROWS_AS(check_geometry("c", g, {0, 18, 0}), std::invalid_argument);
  }
  Rng rng(24);
  const Weights w(rng, DType::kFloat32, good, {4, 4, 1, 3, 3}, 0.5);
  for (const Images::Shape& shape : {Images::Shape{1, 3, 3, 3}, {1, 4, 0, 3}, {1, 4, 3, 0}}) {
    const Images x(DType::kFloat32, shape), out(DType::kFloat32, {1, 4, 3, 3});
    CHECK_THROWS_AS(run(w, x, {}, out), std::invalid_argument);
  }
}

}  // namespace
}  // namespace sparsecore::testing
