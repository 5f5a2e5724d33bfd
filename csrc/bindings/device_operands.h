// The operands of a product on a device, as the core has them.
#pragma once

#include <pybind11/pybind11.h>

#include <string_view>

#include "../ops.h"
#include "device.h"

namespace sparsecore::bindings {

// The matrix with its values: contiguous, one an entry, or a ValueError naming `name`.
CsrView with_values(const DeviceCsr& csr, py::handle values, ArgName name);

// What follows a product's matrix: tensors, None where one is left out. `name` must outlive the
// result.
struct DeviceOperands {
  py::handle x, out, scale, bias, residual, activation;

  Product product(std::string_view name) const;
};

}  // namespace sparsecore::bindings
