#include <pybind11/pybind11.h>

#include "registration.h"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled core of sparsecore.";
  module.attr("__version__") = SPARSECORE_VERSION;
  sparsecore::bindings::register_runtime(module);
  sparsecore::bindings::register_formats(module);
  sparsecore::bindings::register_metadata(module);
  sparsecore::bindings::register_ops(module);
  sparsecore::bindings::register_products(module);
  sparsecore::bindings::register_conv(module);
  sparsecore::bindings::register_chain(module);
  sparsecore::bindings::register_device_formats(module);
  sparsecore::bindings::register_device_cusparselt(module);
  sparsecore::bindings::register_device_products(module);
  sparsecore::bindings::register_device_sparse24(module);
  sparsecore::bindings::register_device_strips(module);
  sparsecore::bindings::register_device_wide24(module);
}
