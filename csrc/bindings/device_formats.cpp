// DeviceCsr, and the functions that make one: tensors to views, launch, results to tensors.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <stdexcept>
#include <string>
#include <utility>

#include "../cuda/csr_arrays.h"
#include "../cuda/dense.h"
#include "../cuda/duplicates.h"
#include "../cuda/row_pieces.h"
#include "../cuda/rows.h"
#include "../cuda/transpose.h"
#include "../cuda/triplets.h"
#include "device.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

using Shape = std::pair<std::int64_t, std::int64_t>;

// Memory whose pieces become tensors that outlive it, and the stream that it is used on.
struct Workspace {
  py::object allocate;
  cuda::Stream stream;
  TorchMemory memory;

  Workspace(py::object allocate_, std::uintptr_t stream_)
      : allocate(std::move(allocate_)), stream(stream_arg(stream_)), memory(allocate) {}

  // A uint8 tensor: one of its own where there is nothing, which has no address.
  py::object tensor(const void* data, std::int64_t size) const {
    return size == 0 ? allocate(0) : memory.tensor_at(data);
  }
  py::object tensor(const IndexView& indices) const { return tensor(indices.data, indices.size); }
  py::object optional_tensor(const void* data) const {
    return data == nullptr ? py::none() : memory.tensor_at(data);
  }
  DeviceCsr csr(const Shape& shape, const cuda::Pattern& pattern) const {
    DeviceCsr csr;
    csr.view.rows = shape.first;
    csr.view.cols = shape.second;
    csr.view.offsets = pattern.offsets;
    csr.view.columns = pattern.columns;
    csr.pieces = pattern.pieces;
    csr.offsets = tensor(pattern.offsets);
    csr.columns = tensor(pattern.columns);
    csr.first_piece = optional_tensor(pattern.pieces.first);
    csr.row_of_piece = optional_tensor(pattern.pieces.row);
    return csr;
  }
};

cuda::GivenIndices given_indices(py::handle tensor, ArgName name) {
  const std::string dtype = py::str(tensor.attr("dtype"));
  return {device_indices(tensor, name), dtype == "torch.int32" || dtype == "torch.int64"};
}

// Pieces name their rows in 32 bits.
void check_rows(std::int64_t rows) {
  if (rows > 0xffffffffll) {
    throw std::invalid_argument("a matrix on a CUDA device has fewer than 2**32 rows, this one " +
                                std::to_string(rows));
  }
}

const std::int64_t* optional_positions(py::handle tensor, ArgName name) {
  return tensor.is_none() ? nullptr
                          : static_cast<const std::int64_t*>(device_indices(tensor, name).data);
}

// The values of `csr`, contiguous.
CsrView with_values(const DeviceCsr& csr, py::handle values) {
  const VectorView given = device_vector(values, "values");
  if (given.size != csr.view.nnz() || (given.size > 1 && given.stride != 1)) {
    throw std::invalid_argument("values has " + std::to_string(given.size) + " items, expected " +
                                std::to_string(csr.view.nnz()) + " contiguous ones");
  }
  CsrView view = csr.view;
  view.values = given.data;
  view.dtype = given.dtype;
  return view;
}

// Of arrays that are known to be valid: copies of a structure that has been checked. Without
// `allocate`, long rows stay whole.
DeviceCsr adopted(const Shape& shape, py::object offsets, py::object columns,
                  const py::object& allocate, std::uintptr_t stream) {
  check_rows(shape.first);
  cuda::Pattern pattern{device_indices(offsets, "offsets"), device_indices(columns, "columns"), {}};
  pattern.pieces.count = shape.first;
  Workspace space(allocate, stream);
  if (!allocate.is_none()) {
    pattern.pieces = space.memory.waited([&] {
      return cuda::row_pieces(pattern.offsets, pattern.columns.size, space.memory, space.stream);
    });
  }
  DeviceCsr csr;
  csr.view = {shape.first,     shape.second, pattern.offsets,
              pattern.columns, nullptr,      DType::kFloat32};
  csr.pieces = pattern.pieces;
  csr.offsets = std::move(offsets);
  csr.columns = std::move(columns);
  csr.first_piece = space.optional_tensor(pattern.pieces.first);
  csr.row_of_piece = space.optional_tensor(pattern.pieces.row);
  return csr;
}

py::object from_arrays(py::handle indptr, py::handle indices, const Shape& shape,
                       py::object allocate, std::uintptr_t stream) {
  check_rows(shape.first);
  Workspace space(std::move(allocate), stream);
  const cuda::GivenIndices offsets = given_indices(indptr, "indptr"),
                           columns = given_indices(indices, "indices");
  const cuda::CsrArrays found = space.memory.waited([&] {
    return cuda::csr_arrays(offsets, columns, shape.first, shape.second, space.memory,
                            space.stream);
  });
  if (!found.is_valid) return py::none();
  return py::make_tuple(space.csr(shape, found.pattern), found.is_ascending);
}

void check_coordinates(const IndexView& row, const IndexView& col, const Shape& shape) {
  check_rows(shape.first);
  if (row.size != col.size) throw std::invalid_argument("row and col differ in length");
  const int bits = cuda::key_bits(shape.first, shape.second);
  if (bits > cuda::kMostKeyBits) {
    throw std::invalid_argument("a coordinate of shape (" + std::to_string(shape.first) + ", " +
                                std::to_string(shape.second) + ") takes " + std::to_string(bits) +
                                " bits, on a CUDA device at most 63");
  }
}

py::object from_triplets(py::handle row, py::handle col, const Shape& shape, bool with_duplicates,
                         py::object allocate, std::uintptr_t stream) {
  Workspace space(std::move(allocate), stream);
  const IndexView rows = device_indices(row, "row"), cols = device_indices(col, "col");
  check_coordinates(rows, cols, shape);
  cuda::TripletOptions options;
  options.with_duplicates = with_duplicates;
  const auto made = space.memory.waited([&] {
    return cuda::canonical_triplets(rows, cols, shape.first, shape.second, options, space.memory,
                                    space.stream);
  });
  if (!made) return py::none();
  return py::make_tuple(space.csr(shape, made->pattern), space.optional_tensor(made->order),
                        space.optional_tensor(made->starts));
}

py::tuple summed_triplets(py::handle row, py::handle col, const Shape& shape, py::object allocate,
                          std::uintptr_t stream) {
  Workspace space(std::move(allocate), stream);
  const IndexView rows = device_indices(row, "row"), cols = device_indices(col, "col");
  check_coordinates(rows, cols, shape);
  cuda::TripletOptions options;
  options.with_rows = true;
  options.with_offsets = false;
  const auto made = space.memory.waited([&] {
    return cuda::canonical_triplets(rows, cols, shape.first, shape.second, options, space.memory,
                                    space.stream);
  });
  if (!made) throw py::index_error("sum_triplets: a coordinate is outside the shape");
  return py::make_tuple(space.tensor(made->rows), space.tensor(made->pattern.columns),
                        space.optional_tensor(made->order), space.optional_tensor(made->starts));
}

py::object narrowed(py::handle indices, std::int64_t limit, py::object allocate,
                    std::uintptr_t stream) {
  Workspace space(std::move(allocate), stream);
  const cuda::GivenIndices given = given_indices(indices, "indices");
  const cuda::Narrowed made =
      space.memory.waited([&] { return cuda::narrowed(given, limit, space.memory, space.stream); });
  return made.is_valid ? space.tensor(made.indices) : py::none();
}

bool sum_runs(py::handle values, py::handle order, py::handle starts, py::handle out,
              py::object allocate, std::uintptr_t stream) {
  Workspace space(std::move(allocate), stream);
  const VectorView given = device_vector(values, "values"), sums = device_vector(out, "out");
  const IndexView runs = device_indices(starts, "starts");
  if (given.stride != 1 || sums.size != runs.size || sums.dtype != given.dtype) {
    throw std::invalid_argument("out has one item of the dtype of the contiguous values a run");
  }
  const cuda::ValueRuns of{optional_positions(order, "order"),
                           static_cast<const std::int64_t*>(runs.data), given.size};
  return space.memory.waited([&] {
    return cuda::sum_runs(given, of, runs.size, const_cast<void*>(sums.data), space.memory,
                          space.stream);
  });
}

py::tuple from_dense(py::handle dense, py::object allocate, std::uintptr_t stream) {
  Workspace space(std::move(allocate), stream);
  const MatrixView view = device_matrix(dense, "W");
  check_rows(view.rows);
  const cuda::Nonzeros made =
      space.memory.waited([&] { return cuda::nonzeros(view, space.memory, space.stream); });
  return py::make_tuple(space.csr({view.rows, view.cols}, made.pattern),
                        space.tensor(made.values, made.pattern.columns.size));
}

void to_dense(const DeviceCsr& csr, py::handle values, py::handle out, std::uintptr_t stream) {
  const CsrView view = with_values(csr, values);
  const MatrixView to = device_matrix(out, "out");
  const bool is_contiguous = (to.rows <= 1 || to.cols == 0 || to.row_stride == to.cols) &&
                             (to.cols <= 1 || to.col_stride == 1);
  if (to.rows != view.rows || to.cols != view.cols || to.dtype != view.dtype || !is_contiguous) {
    throw std::invalid_argument("out is a contiguous matrix of the same shape and dtype");
  }
  cuda::scatter_dense(view, csr.pieces, item_size(view.dtype), to.data, stream_arg(stream));
}

py::object row_ids(const DeviceCsr& csr, py::object allocate, std::uintptr_t stream) {
  Workspace space(std::move(allocate), stream);
  auto* const rows = space.memory.take_items<std::int64_t>(csr.view.nnz());
  cuda::row_ids(csr.view, csr.pieces, rows, space.stream);
  return space.tensor(rows, csr.view.nnz());
}

py::object gathered(const DeviceCsr& csr, py::handle ids, py::handle values, py::object allocate,
                    std::uintptr_t stream) {
  Workspace space(std::move(allocate), stream);
  const cuda::GivenIndices rows = given_indices(ids, "rows");
  check_rows(rows.view.size);
  const CsrView view = values.is_none() ? csr.view : with_values(csr, values);
  const auto made = space.memory.waited(
      [&] { return cuda::gather_rows(view, rows, space.memory, space.stream); });
  if (!made) return py::none();
  const std::int64_t nnz = made->pattern.columns.size;
  const bool moves_values = !values.is_none();
  return py::make_tuple(space.csr({rows.view.size, csr.view.cols}, made->pattern),
                        moves_values ? py::none() : space.tensor(made->order, nnz),
                        moves_values ? space.tensor(made->values, nnz) : py::none());
}

py::tuple transposed(const DeviceCsr& csr, py::object allocate, std::uintptr_t stream) {
  check_rows(csr.view.cols);
  Workspace space(std::move(allocate), stream);
  const cuda::Transposed made = space.memory.waited(
      [&] { return cuda::transpose(csr.view, csr.pieces, space.memory, space.stream); });
  return py::make_tuple(space.csr({csr.view.cols, csr.view.rows}, made.pattern),
                        space.tensor(made.order, csr.view.nnz()));
}

}  // namespace

void register_device_formats(py::module_& module) {
  py::class_<DeviceCsr>(module, "DeviceCsr", py::is_final())
      .def_property_readonly("shape",
                             [](const DeviceCsr& s) { return Shape(s.view.rows, s.view.cols); })
      .def_property_readonly("nnz", [](const DeviceCsr& s) { return s.view.nnz(); })
      .def_property_readonly("pieces", [](const DeviceCsr& s) { return s.pieces.count; })
      .def_property_readonly(
          "tensors",
          [](const DeviceCsr& s) {
            py::list tensors;
            for (const py::object& tensor : {s.offsets, s.columns, s.first_piece, s.row_of_piece}) {
              if (!tensor.is_none()) tensors.append(tensor);
            }
            return tensors;
          })
      .def_property_readonly("indptr", [](const DeviceCsr& s) { return s.offsets; })
      .def_property_readonly("indices", [](const DeviceCsr& s) { return s.columns; })
      .def_property_readonly("indptr_width",
                             [](const DeviceCsr& s) { return s.view.offsets.width; })
      .def_property_readonly("indices_width",
                             [](const DeviceCsr& s) { return s.view.columns.width; });
  module.def("device_csr_adopted", adopted, py::arg("shape"), py::arg("offsets"),
             py::arg("columns"), py::arg("allocate") = py::none(), py::arg("stream") = 0);
  module.def("device_csr_from_arrays", from_arrays, py::arg("indptr"), py::arg("indices"),
             py::arg("shape"), py::arg("allocate"), py::arg("stream"));
  module.def("device_csr_from_triplets", from_triplets, py::arg("row"), py::arg("col"),
             py::arg("shape"), py::arg("with_duplicates"), py::arg("allocate"), py::arg("stream"));
  module.def("device_sum_triplets", summed_triplets, py::arg("row"), py::arg("col"),
             py::arg("shape"), py::arg("allocate"), py::arg("stream"));
  module.def("device_narrow", narrowed, py::arg("indices"), py::arg("limit"), py::arg("allocate"),
             py::arg("stream"));
  module.def("device_sum_runs", sum_runs, py::arg("values"), py::arg("order"), py::arg("starts"),
             py::arg("out"), py::arg("allocate"), py::arg("stream"));
  module.def("device_csr_from_dense", from_dense, py::arg("dense"), py::arg("allocate"),
             py::arg("stream"));
  module.def("device_csr_to_dense", to_dense, py::arg("csr"), py::arg("values"), py::arg("out"),
             py::arg("stream"));
  module.def("device_row_ids", row_ids, py::arg("csr"), py::arg("allocate"), py::arg("stream"));
  module.def("device_gather_rows", gathered, py::arg("csr"), py::arg("rows"), py::arg("values"),
             py::arg("allocate"), py::arg("stream"));
  module.def("device_transpose", transposed, py::arg("csr"), py::arg("allocate"),
             py::arg("stream"));
}

}  // namespace sparsecore::bindings
