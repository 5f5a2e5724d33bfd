// A build without CUDA has nothing of the files device_*.cpp.
#include "registration.h"

namespace sparsecore::bindings {

void register_device_cusparselt(pybind11::module_&) {}
void register_device_formats(pybind11::module_&) {}
void register_device_products(pybind11::module_&) {}
void register_device_sparse24(pybind11::module_&) {}
void register_device_strips(pybind11::module_&) {}
void register_device_wide24(pybind11::module_&) {}

}  // namespace sparsecore::bindings
