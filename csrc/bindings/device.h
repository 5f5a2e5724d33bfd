// torch tensors of a CUDA device as views, and memory of the device as torch tensors.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../cuda/memory.h"
#include "../cuda/pieces.h"
#include "arrays.h"
#include "gil.h"

namespace sparsecore::bindings {

// What a strided tensor says of itself. Of a tensor on a device, nothing is read.
struct DeviceArray {
  std::byte* data = nullptr;
  py::object dtype;                          // torch's
  std::vector<std::int64_t> shape, strides;  // in items

  std::int64_t size() const;
};
DeviceArray device_array(py::handle tensor);
// torch's dtypes by name, without the module's: "float32".
std::string dtype_name_of(const DeviceArray& array);

// Views of tensors, with the errors that arrays get (arrays.h): a TypeError naming `name` for a
// dtype that is not a storage type, or for other numbers of axes than 1 or 2 (1: seen as one
// column).
DType device_dtype(py::handle tensor, ArgName name);
MatrixView device_matrix(py::handle tensor, ArgName name);
MatrixView device_result(py::handle tensor, ArgName name);  // int32 too
MatrixView device_slots(py::handle tensor, ArgName name);   // 8-bit floating types too
VectorView device_vector(py::handle tensor, ArgName name);
// Contiguous integers, 1-D, of any width.
IndexView device_indices(py::handle tensor, ArgName name);

// Memory by `allocate(bytes)`, which returns a uint8 tensor. What was taken lives as long as this.
class TorchMemory : public cuda::Memory {
 public:
  explicit TorchMemory(py::object allocate) : allocate_(std::move(allocate)) {}
  void* take(std::int64_t bytes) override;
  // Returns body(), which waits for the device, run without the GIL: others' Python goes on
  // meanwhile, and what they have started on the device may need it to come to an end. Memory is
  // taken with it. (Products start kernels and wait for nothing. They keep it: a thread that asks
  // for it again next to one that computes in Python waits for 5 ms, sys.getswitchinterval().)
  template <class Body>
  auto waited(Body body) {
    std::optional<std::invoke_result_t<Body>> result;
    without_gil([&] { result.emplace(body()); });
    // There is one: without_gil throws what body throws.
    return *std::move(result);  // NOLINT(bugprone-unchecked-optional-access)
  }
  // The tensor whose memory begins there.
  py::object tensor_at(const void* data) const;

 private:
  py::object allocate_;
  std::vector<std::pair<const void*, py::object>> taken_;
};

// The caller's stream, as torch's `cuda_stream` names it.
cuda::Stream stream_arg(std::uintptr_t stream);

// A CSR pattern in device memory, whose tensors it keeps alive. It is valid: whoever makes one has
// checked it.
struct DeviceCsr {
  CsrView view;
  cuda::Pieces pieces;
  py::object offsets, columns, first_piece, row_of_piece;  // uint8 tensors; None where absent
};

}  // namespace sparsecore::bindings
