// A build without CUDA has none of the functions of device_formats.cpp and device_products.cpp.
#include "registration.h"

namespace sparsecore::bindings {

void register_device_formats(pybind11::module_&) {}
void register_device_products(pybind11::module_&) {}

}  // namespace sparsecore::bindings
