// The operands of a product on a device, as the core has them.
#pragma once

#include <pybind11/pybind11.h>

#include <string_view>
#include <utility>

#include "../ops.h"
#include "device.h"

namespace sparsecore::bindings {

// The matrix with its values: contiguous, one an entry, or a ValueError naming `name`.
CsrView with_values(const DeviceCsr& csr, py::handle values, ArgName name);

// The places of a 2:4 matrix: contiguous metadata of the size that the shape has. And the same with
// its values: contiguous, two a group, or a ValueError naming `name`.
using Shape = std::pair<std::int64_t, std::int64_t>;
Sparse24View sparse24_places(py::handle metadata, const Shape& shape);
Sparse24View sparse24_view(py::handle metadata, const Shape& shape, py::handle values,
                           ArgName name);

// What follows a product's matrix: tensors, None where one is left out. `name` must outlive the
// result.
struct DeviceOperands {
  py::handle x, out, scale, bias, residual, activation;

  Product product(std::string_view name) const;
};

}  // namespace sparsecore::bindings
