// Convolutions: arrays and tensors to images, GIL released, call, wrap. No arithmetic here.
#include "../conv.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../ops.h"
#include "arrays.h"
#include "fast_call.h"
#include "gil.h"
#include "options.h"
#include "registration.h"
#include "tensors.h"

namespace sparsecore::bindings {
namespace {

constexpr std::string_view kName = "conv2d";

// A 4-D array and what keeps its memory alive: the array itself, or a copy where its elements are
// not aligned or, if `evenly`, its pixels leave gaps.
struct ImageArg {
  py::array array = no_array();
  ImageView view;
};

ImageArg image_arg(py::array array, const char* what, bool evenly) {
  const ArgName name(kName, what);
  if (array.ndim() != 4) {
    throw py::type_error(name.text() + " has " + std::to_string(array.ndim()) +
                         " dimensions, expected 4: images, channels, height, width");
  }
  const DType dtype = evenly ? result_dtype_of(array, name) : dtype_of(array, name);
  for (int attempt = 0;; ++attempt) {
    const py::ssize_t item = array.itemsize();
    const auto stride = [&](int axis) { return array.strides(axis) / item; };
    const ImageView view{const_cast<void*>(array.data()),
                         dtype,
                         array.shape(0),
                         array.shape(1),
                         array.shape(2),
                         array.shape(3),
                         stride(0),
                         stride(1),
                         stride(2),
                         stride(3)};
    if (attempt > 0 || (addressable(array) && (!evenly || view.lies_evenly()))) {
      return {std::move(array), view};
    }
    array = array.attr("copy")("C");
  }
}

bool has_channels_last(const ImageView& m) {
  return m.channels > 1 && m.pixels() > 1 && m.channel_stride == 1 && m.col_stride != 1;
}

// In the memory order of x.
py::array make_images(DType dtype, const std::array<std::int64_t, 4>& shape, const ImageView& x) {
  const auto [images, channels, height, width] = shape;
  if (!has_channels_last(x)) return make_array(dtype, {images, channels, height, width});
  return make_array(dtype, {images, height, width, channels}).attr("transpose")(0, 3, 1, 2);
}

void refuse_overlap(const py::array& out, const py::array& other, const char* what) {
  if (!other) return;
  const py::object shares = py::module_::import("numpy").attr("may_share_memory");
  if (shares(out, other).cast<bool>()) {
    throw py::value_error(std::string(kName) + ": out overlaps " + what + " in memory");
  }
}

py::object conv2d_call(const Arguments& given) {
  const auto& plan = given[0].cast<const ConvPlan&>();
  const py::handle x_in = given[1], out_in = given[2];
  const auto array_of = [&](py::handle value, const char* what) {
    return value.is_none() ? no_array() : array_arg(value, {kName, what});
  };
  const py::array scale_given = array_of(given[4], "scale"), bias_given = array_of(given[5], "bias"),
                  residual_given = array_of(given[6], "residual");
  const ImageArg x = image_arg(array_arg(x_in, {kName, "x"}), "x", false);
  VectorArg scale, bias;
  ImageArg residual;
  if (scale_given) scale = vector_arg(scale_given, {kName, "scale"});
  if (bias_given) bias = vector_arg(bias_given, {kName, "bias"});
  if (residual_given) residual = image_arg(residual_given, "residual", true);
  const DType dtype = product_dtype(kName, plan.dtype(), x.view.dtype, bool(scale_given));
  const auto shape = conv_shape(kName, plan, x.view);
  py::array result =
      out_in.is_none() ? make_images(dtype, shape, x.view) : array_of(out_in, "out");
  if (!out_in.is_none()) {
    if (!result.writeable()) throw py::value_error(std::string(kName) + ": out is read-only");
    refuse_overlap(result, x.array, "x");
    refuse_overlap(result, residual_given, "residual");
    refuse_overlap(result, scale_given, "scale");
    refuse_overlap(result, bias_given, "bias");
  }
  ImageArg out = image_arg(result, "out", true);
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
  py::class_<ConvPlan>(module, "ConvPlan", py::is_final())
      .def_property_readonly(
          "structure",
          [](const ConvPlan& plan) {
            return std::const_pointer_cast<CsrStructure>(plan.structure());
          })
      .def_property_readonly(
          "shape",
          [](const ConvPlan& plan) { return std::pair(plan.shape().rows, plan.shape().cols); })
      .def_property_readonly("nnz", [](const ConvPlan& plan) { return plan.shape().nnz; })
      .def_property_readonly("in_channels", &ConvPlan::in_channels)
      .def_property_readonly("nbytes", &ConvPlan::nbytes)
      .def(
          "update",
          [](ConvPlan& plan, py::array values_in, int threads) {
            const py::array values = values_arg(std::move(values_in), "data", plan.shape().nnz);
            if (dtype_of(values, "data") != plan.dtype()) {
              throw py::type_error(std::string("data is ") + dtype_name(dtype_of(values, "data")) +
                                   ", the plan was prepared with " + dtype_name(plan.dtype()));
            }
            const void* data = values.data();
            without_gil([&] { plan.update(data, threads); });
          },
          py::arg("values"), py::arg("threads"))
      .def(
          "unpack",
          [](const ConvPlan& plan, int threads) {
            py::array values = make_array(plan.dtype(), {plan.shape().nnz});
            void* data = values.mutable_data();
            without_gil([&] { plan.unpack(data, threads); });
            return values;
          },
          py::arg("threads"));
  module.def("prepare_conv2d", prepare_conv2d, py::arg("weights"), py::arg("values"),
             py::arg("kernel"), py::arg("stride"), py::arg("padding"), py::arg("dilation"),
             py::arg("groups"), py::arg("threads"));
  static PyMethodDef functions[] = {
      fast_function<conv2d_call>(
          "conv2d", "conv2d(plan, x, out, threads, scale=None, bias=None, residual=None, "
                    "activation=None, /)"),
      {}};
  if (PyModule_AddFunctions(module.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace sparsecore::bindings
