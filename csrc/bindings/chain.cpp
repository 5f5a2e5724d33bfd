// Chains of layers: tensors to images or rows, GIL released, call, wrap. No arithmetic here.
#include "../chain.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrays.h"
#include "fast_call.h"
#include "gil.h"
#include "images.h"
#include "options.h"
#include "registration.h"
#include "tensors.h"

namespace sparsecore::bindings {
namespace {

// A chain and what its layers refer to.
struct OwningChain {
  std::vector<py::object> owned;
  std::unique_ptr<Chain> chain;
};

VectorView vector_of(const py::handle& value, const char* what, OwningChain& owner) {
  if (value.is_none()) return {};
  const VectorArg vector = vector_arg(array_arg(value, {"chain", what}), {"chain", what});
  owner.owned.push_back(vector.array);
  return vector.view;
}

ChainLayer layer_of(const py::tuple& given, OwningChain& owner) {
  ChainLayer layer;
  owner.owned.emplace_back(given[0]);
  if (py::isinstance<ConvPlan>(given[0])) {
    layer.plan = given[0].cast<const ConvPlan*>();
  } else if (py::isinstance<MaxPool>(given[0])) {
    layer.plan = given[0].cast<const MaxPool*>();
  } else if (py::isinstance<Plan>(given[0])) {
    layer.plan = given[0].cast<const Plan*>();
  } else {
    throw py::type_error("chain: a layer is a " +
                         std::string(Py_TYPE(owner.owned.back().ptr())->tp_name) +
                         ", expected a plan or a MaxPool");
  }
  layer.input = given[1].cast<int>();
  layer.residual = given[2].is_none() ? -1 : given[2].cast<int>();
  layer.scale = vector_of(given[3], "scale", owner);
  layer.bias = vector_of(given[4], "bias", owner);
  layer.activation = activation_arg(given[5], "chain");
  layer.pads = given.size() > 6 && given[6].cast<bool>();
  return layer;
}

std::unique_ptr<OwningChain> make_chain(int inputs, const std::vector<py::tuple>& given,
                                        std::vector<int> outputs) {
  auto owner = std::make_unique<OwningChain>();
  std::vector<ChainLayer> layers;
  layers.reserve(given.size());
  for (const py::tuple& layer : given) layers.push_back(layer_of(layer, *owner));
  owner->chain = std::make_unique<Chain>(inputs, std::move(layers), std::move(outputs));
  return owner;
}

// The rows of (..., features) as images of one pixel.
ImageArg rows_arg(const py::array& given) {
  const ArgName name("linear", "x");
  if (given.ndim() == 0) {
    throw py::type_error(name.text() + " has no axis, expected (..., features)");
  }
  const py::ssize_t features = given.shape(given.ndim() - 1);
  py::ssize_t rows = 1;
  for (py::ssize_t axis = 0; axis + 1 < given.ndim(); ++axis) rows *= given.shape(axis);
  py::array as_rows = given.ndim() == 2 ? given : py::array(given).reshape({rows, features});
  DenseArg arg = result_arg(std::move(as_rows), name);
  const MatrixView& m = arg.view;
  return {std::move(arg.array),
          {m.data, m.dtype, rows, features, 1, 1, m.row_stride, m.col_stride, 1, 1}};
}

// Of each value, whether it lies in torch's channels_last order, or column by column, where the
// layers are called one by one: a result lies as its input does, if that has two orders.
std::vector<bool> orders(const Chain& chain, const std::vector<ImageView>& values,
                         const std::vector<py::array>& inputs) {
  std::vector<bool> turned;
  turned.reserve(values.size());
  for (const py::array& x : inputs) {
    turned.push_back(chain.takes_images()
                         ? has_channels_last(image_arg(x, {"conv2d", "x"}, false).view)
                         : is_column_major(x));
  }
  for (std::size_t v = inputs.size(); v < values.size(); ++v) {
    const ChainLayer& layer = chain.maker(static_cast<int>(v));
    const auto source = static_cast<std::size_t>(layer.input);
    const ImageView& x = values[source];
    const std::int64_t others = chain.takes_images() ? x.pixels() : x.images;
    bool stays = turned[source] && x.channels > 1 && others > 1;
    if (stays && layer.pads) {  // as torch sees whether strides are those of channels_last
      const auto& step = std::get<const ConvPlan*>(layer.plan)->geometry().stride;
      const std::int64_t covered = (x.width + step[1] - 1) / step[1] * step[1];
      stays = x.height % step[0] == 0 && covered <= step[0] * x.width;
    }
    turned.push_back(stays);
  }
  return turned;
}

std::vector<py::ssize_t> leading_axes(const py::array& x) {
  return {x.shape(), x.shape() + x.ndim() - 1};
}

// Inputs, or results: what Python holds, and how the core sees it.
struct Operands {
  explicit Operands(std::size_t count) {
    arrays.reserve(count);
    args.reserve(count);
    views.reserve(count);
  }
  void add(py::array array, ImageArg arg) {
    arrays.push_back(std::move(array));
    views.push_back(arg.view);
    args.push_back(std::move(arg));
  }

  std::vector<py::array> arrays;
  std::vector<ImageArg> args;
  std::vector<ImageView> views;
};

Operands inputs_of(const Chain& chain, const Arguments& given) {
  Operands inputs(static_cast<std::size_t>(chain.inputs()));
  for (int i = 0; i < chain.inputs(); ++i) {
    const py::array x = array_arg(given[i], {"chain", "x"});
    inputs.add(x, chain.takes_images() ? image_arg(x, {"conv2d", "x"}, true) : rows_arg(x));
    if (!chain.takes_images() && leading_axes(x) != leading_axes(inputs.arrays.front())) {
      throw py::value_error("linear: x and a residual differ in the axes before the last");
    }
  }
  return inputs;
}

Operands results_of(const Chain& chain, const std::vector<ImageView>& values,
                    const std::vector<bool>& turned) {
  Operands results(chain.outputs().size());
  for (const int output : chain.outputs()) {
    const auto number = static_cast<std::size_t>(output);
    const ImageView& y = values[number];
    if (chain.takes_images()) {
      const py::array array =
          make_images(y.dtype, {y.images, y.channels, y.height, y.width}, turned[number]);
      results.add(array, image_arg(array, {"conv2d", "out"}, true));
    } else {
      const py::array array = make_array(y.dtype, {y.images, y.channels}, turned[number]);
      results.add(array, rows_arg(array));
    }
  }
  return results;
}

py::object run_chain_call(const Arguments& given) {
  const Chain& chain = *given[0].cast<const OwningChain&>().chain;
  const int threads = threads_arg(given[1]);
  const Operands inputs = inputs_of(chain, given.from(2));
  const std::vector<ImageView> values = chain.values(inputs.views);
  Operands results = results_of(chain, values, orders(chain, values, inputs.arrays));
  without_gil([&] { chain.run(inputs.views, results.views, values, threads); });
  results.args.clear();
  py::tuple wrapped(results.arrays.size());
  for (std::size_t i = 0; i < wrapped.size(); ++i) {
    py::array& y = results.arrays[i];
    const py::array& x = inputs.arrays.front();
    if (!chain.takes_images() && x.ndim() != 2) {
      std::vector<py::ssize_t> shape = leading_axes(x);
      shape.push_back(y.shape(1));
      y = y.reshape(shape);
    }
    wrapped[i] = of_kind(std::move(y), given[2]);
  }
  return wrapped.size() == 1 ? py::object(wrapped[0]) : py::object(std::move(wrapped));
}

}  // namespace

void register_chain(py::module_& module) {
  using Pair = ConvGeometry::Pair;
  py::class_<MaxPool>(module, "MaxPool", py::is_final())
      .def(py::init([](const Pair& kernel, const Pair& stride, const Pair& padding) {
             return MaxPool({kernel, stride, padding});
           }),
           py::arg("kernel"), py::arg("stride"), py::arg("padding"));
  py::class_<OwningChain>(module, "Chain", py::is_final())
      .def(py::init(&make_chain), py::arg("inputs"), py::arg("layers"), py::arg("outputs"));
  static PyMethodDef functions[] = {
      fast_function<run_chain_call>("run_chain", "run_chain(chain, threads, /, *inputs)"), {}};
  if (PyModule_AddFunctions(module.ptr(), functions) != 0) throw py::error_already_set();
}

}  // namespace sparsecore::bindings
