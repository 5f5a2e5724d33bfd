// The products of matrices on a device: tensors to views, check, launch. No arithmetic here.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <string_view>
#include <utility>

#include "../cuda/merge_rows.h"
#include "../cuda/sddmm.h"
#include "../cuda/spmm.h"
#include "../cuda/tf32_tiles.h"
#include "../ops.h"
#include "device.h"
#include "device_operands.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

using Kernel = void (*)(const CsrView&, const cuda::Pieces&, const Product&, TorchMemory&,
                        cuda::Stream);

void by_rows(const CsrView& a, const cuda::Pieces& pieces, const Product& p, TorchMemory& memory,
             cuda::Stream stream) {
  cuda::csr_product(a, pieces, p.x, p.epilogue, p.out, memory, stream);
}

void by_shares(const CsrView& a, const cuda::Pieces&, const Product& p, TorchMemory& memory,
               cuda::Stream stream) {
  cuda::merge_product(a, p.x, p.epilogue, p.out, memory, stream);
}

template <cuda::Tf32 kHow>
void by_tiles(const CsrView& a, const cuda::Pieces&, const Product& p, TorchMemory& memory,
              cuda::Stream stream) {
  cuda::tf32_product(a, p.x, p.epilogue, p.out, kHow, memory, stream);
}

// Of a plan that names one; tiles are of fp32 only, shares of the merge path of few columns, and
// all else goes by rows.
Kernel kernel_of(std::string_view kernel, DType values, const MatrixView& x) {
  const bool is_fp32 = values == DType::kFloat32 && x.dtype == DType::kFloat32;
  if (kernel == "merge" && x.cols <= cuda::kMostMergeColumns) return by_shares;
  if (is_fp32 && kernel == "tf32") return by_tiles<cuda::Tf32::kOnce>;
  if (is_fp32 && kernel == "3xtf32") return by_tiles<cuda::Tf32::kThreeTimes>;
  return by_rows;
}

void csr_matmul_run(const DeviceCsr& csr, py::handle values, py::handle x, py::handle out,
                    const std::string& name, const py::object& transposed, py::handle scale,
                    py::handle bias, py::handle residual, py::handle activation,
                    std::string_view kernel, py::object allocate, std::uintptr_t stream) {
  const CsrView a = with_values(csr, values, {name, "A.data"});
  Product product = DeviceOperands{x, out, scale, bias, residual, activation}.product(name);
  product.transposed = !transposed.is_none();
  check_csr_matmul(a, product);
  TorchMemory memory(std::move(allocate));
  const Kernel run = kernel_of(kernel, a.dtype, product.x);
  if (!product.transposed) return run(a, csr.pieces, product, memory, stream_arg(stream));
  const py::tuple turned = transposed();
  const auto& matrix = turned[0].cast<const DeviceCsr&>();
  const CsrView turned_view = with_values(matrix, turned[1], {name, "A.T's values"});
  run(turned_view, matrix.pieces, product, memory, stream_arg(stream));
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
             py::arg("bias"), py::arg("residual"), py::arg("activation"), py::arg("kernel"),
             py::arg("allocate"), py::arg("stream"));
  module.def("device_csr_sddmm", csr_sddmm_run, py::arg("csr"), py::arg("u"), py::arg("v"),
             py::arg("out"), py::arg("allocate"), py::arg("stream"));
}

}  // namespace sparsecore::bindings
