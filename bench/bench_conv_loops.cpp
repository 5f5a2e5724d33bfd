// A direct convolution's order of loops against the order of its data.
//
// 3x3, stride 1, padding 1, batch 1: data as NCHW or NHWC, and the innermost loop over the pixels
// of a row or over the output channels. NCHW/pixels_inner and NHWC/channels_inner read and write
// contiguously, the other two do not. Everything is dense; NCHW/pixels_inner is the baseline.
// Rate: 2 * 9 * C * K * H * W / t.
#include <string>

#include "dense_loops.h"
#include "harness.h"
#include "problems.h"

namespace sparsecore::bench {
namespace {

struct Shape {
  std::int64_t in, out, size;  // channels, channels, pixels along each side
  bool operator==(const Shape&) const = default;
};
constexpr Shape kShapes[] = {{64, 64, 56}, {256, 256, 14}};  // two of ResNet-50's

// Distances between neighbours along channel, row and column.
struct Strides {
  std::int64_t c, y, x;
};
constexpr Strides nchw(std::int64_t, std::int64_t side) { return {side * side, side, 1}; }
constexpr Strides nhwc(std::int64_t channels, std::int64_t side) {
  return {1, side * channels, channels};
}

enum class Layout { kNCHW, kNHWC };
enum class Inner { kPixels, kChannels };

struct Convolution {
  Shape shape{};
  Layout layout{};
  Dense input, weight, output;  // input is padded; weight is [3][3][C][K]
  Reference expected;           // in the layout of output

  Strides in() const { return strides(shape.in, shape.size + 2); }
  Strides out() const { return strides(shape.out, shape.size); }

 private:
  Strides strides(std::int64_t channels, std::int64_t side) const {
    return layout == Layout::kNCHW ? nchw(channels, side) : nhwc(channels, side);
  }
};

void pixels_inner(Convolution& p) {
  const auto [in, out, size] = p.shape;
  const Strides from = p.in(), to = p.out();
  for (std::int64_t k = 0; k < out; ++k) {
    for (std::int64_t c = 0; c < in; ++c) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        const float value = p.weight.row(tap)[c * out + k];
        for (std::int64_t y = 0; y < size; ++y) {
          add_line(value, p.input.row(0) + c * from.c + (y + tap / 3) * from.y + tap % 3 * from.x,
                   from.x, p.output.row(0) + k * to.c + y * to.y, to.x, size);
        }
      }
    }
  }
}

void channels_inner(Convolution& p) {
  const auto [in, out, size] = p.shape;
  const Strides from = p.in(), to = p.out();
  for (std::int64_t y = 0; y < size; ++y) {
    for (std::int64_t x = 0; x < size; ++x) {
      for (std::int64_t tap = 0; tap < 9; ++tap) {
        const float* pixel = p.input.row(0) + (y + tap / 3) * from.y + (x + tap % 3) * from.x;
        for (std::int64_t c = 0; c < in; ++c) {
          add_line(pixel[c * from.c], p.weight.row(tap) + c * out, 1,
                   p.output.row(0) + y * to.y + x * to.x, to.c, out);
        }
      }
    }
  }
}

Reference convolved(const Convolution& p) {
  const auto [in, out, size] = p.shape;
  const Strides from = p.in(), to = p.out();
  const auto count = static_cast<std::size_t>(out * size * size);
  Reference reference{std::vector<double>(count), std::vector<double>(count)};
  std::vector<double> sum(static_cast<std::size_t>(out)), magnitude(sum);
  for (std::int64_t pixel = 0; pixel < size * size; ++pixel) {
    const std::int64_t y = pixel / size, x = pixel % size;
    std::fill(sum.begin(), sum.end(), 0.0);
    std::fill(magnitude.begin(), magnitude.end(), 0.0);
    for (std::int64_t tap = 0; tap < 9; ++tap) {
      for (std::int64_t c = 0; c < in; ++c) {
        const double value =
            p.input.row(0)[c * from.c + (y + tap / 3) * from.y + (x + tap % 3) * from.x];
        for (std::int64_t k = 0; k < out; ++k) {
          const double term = value * double{p.weight.row(tap)[c * out + k]};
          sum[static_cast<std::size_t>(k)] += term;
          magnitude[static_cast<std::size_t>(k)] += std::fabs(term);
        }
      }
    }
    for (std::int64_t k = 0; k < out; ++k) {
      const auto place = static_cast<std::size_t>(k * to.c + y * to.y + x * to.x);
      reference.value[place] = sum[static_cast<std::size_t>(k)];
      reference.bound[place] = fp32_bound(9 * in, magnitude[static_cast<std::size_t>(k)]);
    }
  }
  return reference;
}

struct ConvolutionKey {
  Shape shape;
  Layout layout;
  bool operator==(const ConvolutionKey&) const = default;
};

Convolution make_convolution(const ConvolutionKey& key) {
  const auto [in, out, size] = key.shape;
  Convolution p{.shape = key.shape,
                .layout = key.layout,
                .input = Dense(in * (size + 2), size + 2),
                .weight = random_dense(9, in * out, 2),
                .output = Dense(out * size, size),
                .expected = {}};
  const Dense random = random_dense(in, size * size, 1);
  const Strides to = p.in();
  for (std::int64_t c = 0; c < in; ++c) {
    for (std::int64_t i = 0; i < size * size; ++i) {
      p.input.row(0)[c * to.c + (i / size + 1) * to.y + (i % size + 1) * to.x] = random.row(c)[i];
    }
  }
  p.expected = convolved(p);
  return p;
}

void run_convolution(benchmark::State& state, Convolution& p, Inner inner) {
  const auto mismatch = [&] { return p.expected.mismatch(p.output.values.data()); };
  const auto call = [&] {
    std::fill(p.output.values.begin(), p.output.values.end(), 0.0f);
    inner == Inner::kPixels ? pixels_inner(p) : channels_inner(p);
  };
  if (!check_and_measure(state, mismatch, call)) return;
  count_flop(state, 2.0 * 9.0 * static_cast<double>(p.shape.in * p.output.size()));
  state.SetLabel("2*9*C*K*H*W/t");
}

}  // namespace

void register_benchmarks() {
  const Cases cases(make_convolution);
  for (const Shape& shape : kShapes) {
    const std::string tail = "/C:" + std::to_string(shape.in) + "/HW:" + std::to_string(shape.size);
    for (const Layout layout : {Layout::kNCHW, Layout::kNHWC}) {
      const std::string name = layout == Layout::kNCHW ? "conv3x3/NCHW" : "conv3x3/NHWC";
      const ConvolutionKey key{shape, layout};
      cases.add(name + "/pixels_inner" + tail, key,
                [](auto& state, Convolution& p) { run_convolution(state, p, Inner::kPixels); });
      cases.add(name + "/channels_inner" + tail, key,
                [](auto& state, Convolution& p) { run_convolution(state, p, Inner::kChannels); });
    }
  }
}

}  // namespace sparsecore::bench
