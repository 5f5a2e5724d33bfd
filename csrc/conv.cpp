#include "conv.h"

#include <algorithm>
#include <cassert>
#include <stdexcept>
#include <string>

#include "ops.h"

namespace sparsecore {
namespace {

using Index = std::int64_t;

[[noreturn]] void fail(std::string_view name, const std::string& message) {
  throw std::invalid_argument(std::string(name) + ": " + message);
}

std::string text_of(const ConvGeometry::Pair& pair) {
  return "(" + std::to_string(pair[0]) + ", " + std::to_string(pair[1]) + ")";
}

using Shape = std::array<Index, 4>;

std::string text_of(const Shape& shape) {
  std::string text;
  for (const Index size : shape) text += (text.empty() ? "(" : ", ") + std::to_string(size);
  return text + ")";
}

Shape shape_of(const ImageView& m) { return {m.images, m.channels, m.height, m.width}; }

void require_range(std::string_view name, const char* what, const ConvGeometry::Pair& pair,
                   Index least, int exponent) {
  for (const Index value : pair) {
    if (value >= least && value <= Index{1} << exponent) continue;
    fail(name, std::string(what) + " is " + text_of(pair) + ", expected " + std::to_string(least) +
                   " ... 2^" + std::to_string(exponent) + " each");
  }
}

// Addresses have 47 bits: beside an image by at most so many times one of its strides, along both
// axes and from there to any place of the kernel, is a position of 63.
constexpr int kPaddingExponent = 13, kStrideExponent = 15;
constexpr Index kMostTaps = Index{1} << 20;
constexpr Index kMostColumns = Index{1} << 32;
constexpr Index kLongestAxis = Index{1} << 62;

}  // namespace

void check_geometry(std::string_view name, const ConvGeometry& geometry, const PlanShape& weights) {
  require_range(name, "kernel_size", geometry.kernel, 1, 20);
  require_range(name, "stride", geometry.stride, 1, kStrideExponent);
  require_range(name, "padding", geometry.padding, 0, kPaddingExponent);
  require_range(name, "dilation", geometry.dilation, 1, 30);
  if (geometry.taps() > kMostTaps) {
    fail(name, "kernel_size is " + text_of(geometry.kernel) + ", expected 2^20 places at most");
  }
  if (weights.cols > kMostColumns) {
    fail(name,
         "A has " + std::to_string(weights.cols) + " columns, convolutions take at most 2^32");
  }
  const Index most_groups = std::max<Index>(weights.rows, 1);
  if (geometry.groups < 1 || geometry.groups > most_groups || weights.rows % geometry.groups != 0) {
    fail(name, "groups is " + std::to_string(geometry.groups) + ", A has " +
                   std::to_string(weights.rows) + " rows: expected a divisor of them");
  }
  if (weights.cols % geometry.taps() != 0) {
    fail(name,
         "kernel_size is " + text_of(geometry.kernel) + ", A has " + std::to_string(weights.cols) +
             " columns: expected in_channels / groups times as many as the kernel has places");
  }
}

Shape conv_shape(std::string_view name, const ConvPlan& plan, const ImageView& x) {
  if (x.channels != plan.in_channels()) {
    fail(name, "x has " + std::to_string(x.channels) + " channels, expected " +
                   std::to_string(plan.in_channels()));
  }
  if (std::max(x.height, x.width) > kLongestAxis) {
    fail(name, "x is " + std::to_string(x.height) + " x " + std::to_string(x.width) +
                   ", expected 2^62 at most");
  }
  const ConvGeometry& geometry = plan.geometry();
  const Index height = geometry.out_size(0, x.height), width = geometry.out_size(1, x.width);
  if (height == 0 || width == 0) {
    fail(name, "x is " + std::to_string(x.height) + " x " + std::to_string(x.width) +
                   ", padded by " + text_of(geometry.padding) + " smaller than the kernel's span " +
                   text_of(ConvGeometry::Pair{geometry.span(0), geometry.span(1)}));
  }
  return {x.images, plan.shape().rows, height, width};
}

void conv2d(const ConvPlan& plan, const ConvCall& call) {
  const Shape shape = conv_shape(call.name, plan, call.x);
  const ConvEpilogue& epilogue = call.epilogue;
  const DType result =
      product_dtype(call.name, plan.dtype(), call.x.dtype, epilogue.scale.data != nullptr);
  if (shape_of(call.out) != shape) {
    fail(call.name,
         "out has shape " + text_of(shape_of(call.out)) + ", expected " + text_of(shape));
  }
  if (call.out.dtype != result) {
    fail(call.name, std::string("out is ") + dtype_name(call.out.dtype) + ", the result is " +
                        dtype_name(result));
  }
  check_vector(call.name, "scale", epilogue.scale, shape[1], result);
  check_vector(call.name, "bias", epilogue.bias, shape[1], result);
  const ImageView& residual = epilogue.residual;
  if (residual.data != nullptr && shape_of(residual) != shape) {
    fail(call.name,
         "residual has shape " + text_of(shape_of(residual)) + ", expected " + text_of(shape));
  }
  if (residual.data != nullptr && residual.dtype != result) {
    throw TypeMismatch(std::string(call.name) + ": residual is " + dtype_name(residual.dtype) +
                       ", the result is " + dtype_name(result));
  }
  if (epilogue.activation != Activation::kNone && !is_floating(result)) {
    throw TypeMismatch(std::string(call.name) + ": an activation needs a floating result, got " +
                       dtype_name(result));
  }
  assert(call.out.lies_evenly() && (residual.data == nullptr || residual.lies_evenly()));
  if (call.out.images == 0 || call.out.channels == 0) return;
  plan.run(call.x, epilogue, call.out, call.threads, std::max(call.of_images, call.x.images));
}

}  // namespace sparsecore
