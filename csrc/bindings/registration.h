// One function per binding file, called by module.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace sparsecore::bindings {

void register_chain(pybind11::module_& module);
void register_conv(pybind11::module_& module);
void register_device_cusparselt(pybind11::module_& module);
void register_device_formats(pybind11::module_& module);
void register_device_products(pybind11::module_& module);
void register_device_sparse24(pybind11::module_& module);
void register_device_strips(pybind11::module_& module);
void register_device_wide24(pybind11::module_& module);
void register_formats(pybind11::module_& module);
void register_metadata(pybind11::module_& module);
void register_ops(pybind11::module_& module);
void register_products(pybind11::module_& module);
void register_runtime(pybind11::module_& module);

}  // namespace sparsecore::bindings
