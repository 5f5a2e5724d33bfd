// What calls are told besides arrays.
#pragma once

#include <pybind11/pybind11.h>

#include <string_view>

#include "../epilogue.h"

namespace sparsecore::bindings {

// The text of a str, while that lives.
std::string_view text_of(pybind11::handle value);

// None or a name; a ValueError of the function `name` for one that does not exist.
Activation activation_arg(pybind11::handle value, std::string_view name);

// How many threads a call may use: `value`, or where that is None the package's setting, which only
// the longer calls ask.
int threads_arg(pybind11::handle value);

}  // namespace sparsecore::bindings
