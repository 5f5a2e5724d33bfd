#include "options.h"

#include <pybind11/gil_safe_call_once.h>

#include <cstddef>
#include <string>

namespace sparsecore::bindings {

namespace py = pybind11;

std::string_view text_of(py::handle value) {
  Py_ssize_t size = 0;
  const char* const text = PyUnicode_AsUTF8AndSize(value.ptr(), &size);
  if (text == nullptr) throw py::error_already_set();
  return {text, static_cast<std::size_t>(size)};
}

Activation activation_arg(py::handle value, std::string_view name) {
  if (value.is_none()) return Activation::kNone;
  if (!py::isinstance<py::str>(value)) {
    throw py::type_error(std::string(name) + ": activation is a " + Py_TYPE(value.ptr())->tp_name +
                         ", expected None or a str");
  }
  const std::string_view activation = text_of(value);
  if (activation == "relu") return Activation::kRelu;
  if (activation == "gelu") return Activation::kGelu;
  if (activation == "silu") return Activation::kSilu;
  throw py::value_error(std::string(name) + ": activation is '" + std::string(activation) +
                        "', expected None, 'relu', 'gelu' or 'silu'");
}

int threads_arg(py::handle value) {
  if (!value.is_none()) return value.cast<int>();
  PYBIND11_CONSTINIT static py::gil_safe_call_once_and_store<py::object> storage;
  auto& get_num_threads = storage.call_once_and_store_result(
      [] { return py::object(py::module_::import("sparsecore.threads").attr("get_num_threads")); });
  return get_num_threads.get_stored()().cast<int>();
}

}  // namespace sparsecore::bindings
