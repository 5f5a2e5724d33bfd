// The products of matrices on a device: tensors to views, check, launch. No arithmetic here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "../cuda/spmm.h"
#include "../ops.h"
#include "device.h"
#include "options.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

CsrView with_values(const DeviceCsr& csr, py::handle values, ArgName name) {
  const VectorView given = device_vector(values, name);
  if (given.size != csr.view.nnz()) {
    throw py::value_error(name.text() + " has " + std::to_string(given.size) +
                          " values, the matrix " + std::to_string(csr.view.nnz()) + " entries");
  }
  CsrView view = csr.view;
  view.values = given.data;
  view.dtype = given.dtype;
  return view;
}

MatrixView optional_matrix(py::handle tensor, ArgName name) {
  return tensor.is_none() ? MatrixView{} : device_matrix(tensor, name);
}

VectorView optional_vector(py::handle tensor, ArgName name) {
  return tensor.is_none() ? VectorView{} : device_vector(tensor, name);
}

void csr_matmul_run(const DeviceCsr& csr, py::handle values, py::handle x, py::handle out,
                    const std::string& name, py::handle scale, py::handle bias,
                    py::handle residual, py::handle activation, py::object allocate,
                    std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, {name, "A.data"});
  const Product product{.x = device_matrix(x, {name, "X"}),
                        .epilogue = {optional_vector(scale, {name, "scale"}),
                                     optional_vector(bias, {name, "bias"}),
                                     optional_matrix(residual, {name, "residual"}),
                                     activation_arg(activation, name)},
                        .out = device_matrix(out, {name, "out"}),
                        .name = name};
  check_csr_matmul(a, product);
  TorchMemory memory(std::move(allocate));
  cuda::csr_product(a, csr.pieces, product.x, product.epilogue, product.out, memory,
                    stream_arg(stream));
}

}  // namespace

void register_device_products(py::module_& module) {
  module.def("device_csr_matmul", csr_matmul_run, py::arg("csr"), py::arg("values"), py::arg("x"),
             py::arg("out"), py::arg("name"), py::arg("scale"), py::arg("bias"),
             py::arg("residual"), py::arg("activation"), py::arg("allocate"), py::arg("stream"));
}

}  // namespace sparsecore::bindings
