// torch tensors as numpy arrays, without torch's Python calls: those cost more than a small
// product.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "arrays.h"

namespace sparsecore::bindings {

// A view of a strided CPU tensor's memory (its graph is left behind), None where torch has to be
// asked: it offers no DLPack exchange, or the tensor is of another kind.
pybind11::object tensor_view(pybind11::handle tensor);

// An array as it is, a tensor as a view; a TypeError naming `name` for anything else.
pybind11::array array_arg(pybind11::handle value, ArgName name);

// A new array as what `like` is: itself, or a tensor of its memory.
pybind11::object of_kind(pybind11::array fresh, pybind11::handle like);

}  // namespace sparsecore::bindings
