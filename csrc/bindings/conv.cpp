// Convolutions: arrays and tensors to images, GIL released, call, wrap. No arithmetic here.
#include "../conv.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../ops.h"
#include "arrays.h"
#include "fast_call.h"
#include "gil.h"
#include "images.h"
#include "options.h"
#include "plan_class.h"
#include "registration.h"
#include "tensors.h"

namespace sparsecore::bindings {
namespace {

constexpr std::string_view kName = "conv2d";

// Whether two elements lie on each other: an axis reaches into what the shorter ones span.
bool overlaps_itself(const py::array& array) {
  std::vector<std::pair<py::ssize_t, py::ssize_t>> axes;  // strides and sizes
  for (py::ssize_t axis = 0; axis < array.ndim(); ++axis) {
    if (array.shape(axis) == 0) return false;
    if (array.shape(axis) > 1) axes.emplace_back(std::abs(array.strides(axis)), array.shape(axis));
  }
  std::sort(axes.begin(), axes.end());
  py::ssize_t span = array.itemsize();
  for (const auto& [stride, size] : axes) {
    if (stride < span) return true;
    span += stride * (size - 1);
  }
  return false;
}

// Exact for what slices make of one buffer, as halves of its channels; where numpy finds that hard,
// the arrays overlap.
bool share_memory(const py::array& a, const py::array& b) {
  constexpr int kMostWork = 10'000;
  try {
    const py::object shares = py::module_::import("numpy").attr("shares_memory");
    return shares(a, b, py::arg("max_work") = kMostWork).cast<bool>();
  } catch (const py::error_already_set& error) {
    if (error.matches(PyExc_RuntimeError)) return true;  // numpy's TooHardError
    throw;
  }
}

void refuse_overlap(const py::array& out, const py::array& other, const char* what) {
  if (other && share_memory(out, other)) {
    throw py::value_error(std::string(kName) + ": out overlaps " + what + " in memory");
  }
}

py::object conv2d_call(const Arguments& given) {
  const auto& plan = given[0].cast<const ConvPlan&>();
  const py::handle x_in = given[1], out_in = given[2];
  const auto array_of = [&](py::handle value, const char* what) {
    return value.is_none() ? no_array() : array_arg(value, {kName, what});
  };
  const py::array scale_given = array_of(given[4], "scale"),
                  bias_given = array_of(given[5], "bias"),
                  residual_given = array_of(given[6], "residual");
  const py::array x_given = array_arg(x_in, {kName, "x"});
  const ImageArg x = image_arg(x_given, {kName, "x"}, false);
  VectorArg scale, bias;
  ImageArg residual;
  if (scale_given) scale = vector_arg(scale_given, {kName, "scale"});
  if (bias_given) bias = vector_arg(bias_given, {kName, "bias"});
  if (residual_given) residual = image_arg(residual_given, {kName, "residual"}, true);
  const DType dtype =
      product_dtype(kName, plan.dtype(), x.view.dtype, static_cast<bool>(scale_given));
  const auto shape = conv_shape(kName, plan, x.view);
  py::array result = out_in.is_none() ? make_images(dtype, shape, has_channels_last(x.view))
                                      : array_of(out_in, "out");
  if (!out_in.is_none()) {
    if (!result.writeable()) throw py::value_error(std::string(kName) + ": out is read-only");
    if (overlaps_itself(result)) {
      throw py::value_error(std::string(kName) + ": out has elements that share memory");
    }
    refuse_overlap(result, x_given, "x");
    refuse_overlap(result, residual_given, "residual");
    refuse_overlap(result, scale_given, "scale");
    refuse_overlap(result, bias_given, "bias");
  }
  ImageArg out = image_arg(result, {kName, "out"}, true);
  ConvCall call{.x = x.view,
                .epilogue = {scale.view, bias.view, residual.view, activation_arg(given[7], kName)},
                .out = out.view,
                .threads = threads_arg(given[3]),
                .name = kName};
  without_gil([&] { conv2d(plan, call); });
  if (!out.array.is(result)) {
    py::module_::import("numpy").attr("copyto")(result, out.array);
  }
  if (!out_in.is_none()) return py::reinterpret_borrow<py::object>(out_in);
  out.array = no_array();
  return of_kind(std::move(result), x_in);
}

using Pair = ConvGeometry::Pair;

std::unique_ptr<ConvPlan> prepare_conv2d(const std::shared_ptr<CsrStructure>& weights,
                                         py::array values_in, const Pair& kernel,
                                         const Pair& stride, const Pair& padding,
                                         const Pair& dilation, std::int64_t groups, int threads) {
  const py::array values = values_arg(std::move(values_in), "A.data", weights->nnz());
  const DType dtype = dtype_of(values, "A.data");
  const void* data = values.data();
  const ConvGeometry geometry{kernel, stride, padding, dilation, groups};
  check_geometry(kName, geometry, shape_of(*weights));
  std::unique_ptr<ConvPlan> plan;
  without_gil([&] { plan = std::make_unique<ConvPlan>(weights, data, dtype, geometry, threads); });
  return plan;
}

}  // namespace

void register_conv(py::module_& module) {
  plan_class<ConvPlan>(module, "ConvPlan").def_property_readonly("kernel", &ConvPlan::kernel);
  module.def(
      "check_conv2d",
      [](const std::pair<std::int64_t, std::int64_t>& shape, const Pair& kernel, const Pair& stride,
         const Pair& padding, const Pair& dilation, std::int64_t groups) {
        check_geometry(kName, {kernel, stride, padding, dilation, groups},
                       {shape.first, shape.second, 0});
      },
      py::arg("shape"), py::arg("kernel"), py::arg("stride"), py::arg("padding"),
      py::arg("dilation"), py::arg("groups"));
  module.def("prepare_conv2d", prepare_conv2d, py::arg("weights"), py::arg("values"),
             py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups"), py::arg("threads"));
  static PyMethodDef functions[] = {
      fast_function<conv2d_call>(
          "conv2d",
          "conv2d(plan, x, out, threads, scale=None, bias=None, residual=None, "
          "activation=None, /)"),
      {}};
  if (PyModule_AddFunctions(module.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace sparsecore::bindings
