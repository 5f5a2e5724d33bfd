// The products of matrices on a device: tensors to views, check, launch. No arithmetic here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>

#include "../cuda/sddmm.h"
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
    throw py::value_error(name.text() + " has shape (" + std::to_string(given.size) +
                          ",), expected " + std::to_string(csr.view.nnz()) + " items");
  }
  if (given.size > 1 && given.stride != 1) {
    throw py::value_error(name.text() + " must be contiguous");
  }
  CsrView view = csr.view;
  view.values = given.data;
  view.dtype = given.dtype;
  return view;
}

// torch gives empty tensors no address, where views without one are absent ones.
template <class View>
View present(View view) {
  static std::byte nothing;
  if (view.data == nullptr) view.data = &nothing;
  return view;
}

MatrixView optional_matrix(py::handle tensor, ArgName name) {
  return tensor.is_none() ? MatrixView{} : present(device_result(tensor, name));
}

VectorView optional_vector(py::handle tensor, ArgName name) {
  return tensor.is_none() ? VectorView{} : present(device_vector(tensor, name));
}

void csr_matmul_run(const DeviceCsr& csr, py::handle values, py::handle x, py::handle out,
                    const std::string& name, const py::object& transposed, py::handle scale,
                    py::handle bias, py::handle residual, py::handle activation,
                    py::object allocate, std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, {name, "A.data"});
  const Product product{
      .x = device_matrix(x, {name, "X"}),
      .epilogue = {optional_vector(scale, {name, "scale"}), optional_vector(bias, {name, "bias"}),
                   optional_matrix(residual, {name, "residual"}), activation_arg(activation, name)},
      .out = device_result(out, {name, "out"}),
      .transposed = !transposed.is_none(),
      .name = name};
  check_csr_matmul(a, product);
  TorchMemory memory(std::move(allocate));
  const auto run = [&](const CsrView& matrix, const cuda::Pieces& pieces) {
    cuda::csr_product(matrix, pieces, product.x, product.epilogue, product.out, memory,
                      stream_arg(stream));
  };
  if (!product.transposed) return run(a, csr.pieces);
  const py::tuple turned = transposed();
  const auto& matrix = turned[0].cast<const DeviceCsr&>();
  run(with_values(matrix, turned[1], {name, "A.T's values"}), matrix.pieces);
}

void csr_sddmm_run(const DeviceCsr& csr, py::handle u_in, py::handle v_in, py::handle out,
                   py::object allocate, std::uintptr_t stream) {
  const MatrixView u = device_matrix(u_in, "csr_sddmm: U"), v = device_matrix(v_in, "csr_sddmm: V");
  const DType dtype = sddmm_dtype(u.dtype, v.dtype);
  check_csr_sddmm(csr.view, u, v);
  const MatrixView d = device_result(out, "csr_sddmm: out");
  if (d.dtype != dtype || d.rows != csr.view.nnz() || d.cols != 1 ||
      (d.rows > 1 && d.row_stride != 1)) {
    throw py::value_error("csr_sddmm: out does not fit the result");
  }
  TorchMemory memory(std::move(allocate));
  cuda::csr_sampled_product(csr.view, csr.pieces, u, v, d.data, memory, stream_arg(stream));
}

}  // namespace

void register_device_products(py::module_& module) {
  module.def("device_csr_matmul", csr_matmul_run, py::arg("csr"), py::arg("values"), py::arg("x"),
             py::arg("out"), py::arg("name"), py::arg("transposed"), py::arg("scale"),
             py::arg("bias"), py::arg("residual"), py::arg("activation"), py::arg("allocate"),
             py::arg("stream"));
  module.def("device_csr_sddmm", csr_sddmm_run, py::arg("csr"), py::arg("u"), py::arg("v"),
             py::arg("out"), py::arg("allocate"), py::arg("stream"));
}

}  // namespace sparsecore::bindings
