// CsrStructure, Sparse24Structure and the functions that make them.
#include "../formats.h"

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "../construct.h"
#include "../dense_convert.h"
#include "../gather_rows.h"
#include "../transpose.h"
#include "arrays.h"
#include "gil.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

using Shape = std::pair<std::int64_t, std::int64_t>;
using CsrPtr = std::shared_ptr<CsrStructure>;

// pybind11 holds non-const pointers; no bound method edits a structure.
CsrPtr held(std::shared_ptr<const CsrStructure> structure) {
  return std::const_pointer_cast<CsrStructure>(std::move(structure));
}

Duplicates duplicates_from(const std::string& policy) {
  if (policy == "sum") return Duplicates::kSum;
  if (policy == "error") return Duplicates::kError;
  throw py::value_error("duplicates is '" + policy + "', expected 'sum' or 'error'");
}

// A read-only numpy view that keeps the owner alive.
template <class Owner>
py::array frozen_view(const std::shared_ptr<Owner>& owner, const void* data, const char* dtype,
                      std::vector<py::ssize_t> shape) {
  const auto* keep = new std::shared_ptr<Owner>(owner);
  const py::capsule capsule(keep, [](void* p) { delete static_cast<std::shared_ptr<Owner>*>(p); });
  py::array array(py::dtype(dtype), std::move(shape), data, capsule);
  array.attr("setflags")(py::arg("write") = false);
  return array;
}

template <class Owner>
py::array index_view(const std::shared_ptr<Owner>& owner, const IndexArray& array) {
  const std::string dtype = "u" + std::to_string(array.width());
  return frozen_view(owner, array.data(), dtype.c_str(), {array.size()});
}

py::object optional_array(const std::optional<std::vector<std::int64_t>>& v) {
  return v ? py::object(to_array(*v)) : py::none();
}

// Stored indices of any unsigned width, or int64.
IndexView index_arg(const py::array& array, const char* name) {
  const char kind = array.dtype().kind();
  const bool contiguous = (array.flags() & py::array::c_style) != 0;
  if (array.ndim() != 1 || !contiguous ||
      (kind != 'u' && !(kind == 'i' && array.itemsize() == 8))) {
    throw py::type_error(std::string(name) + " must be a contiguous vector of indices");
  }
  return {array.data(), static_cast<int>(array.itemsize()), array.size()};
}

// Calls make(values) without the GIL and returns its result, wrapped by wrap(result), the order and
// starts that it found (see ValueOrder), and the values where they came along; None for what is
// absent.
template <class Make, class Wrap>
py::tuple canonical(std::optional<py::array> values, std::int64_t size, Make make, Wrap wrap) {
  std::optional<py::array> sorted;
  Values given;
  if (values) {
    values = values_arg(std::move(*values), "values", size);
    const DType dtype = dtype_of(*values, "values");
    given = {values->data(), dtype, [&sorted, dtype](std::int64_t n) {
               stop_if_finalizing();
               const py::gil_scoped_acquire acquire;
               sorted = make_array(dtype, {n});
               return sorted->mutable_data();
             }};
  }
  std::invoke_result_t<Make, const Values&> result;
  without_gil([&] { result = make(given); });
  return py::make_tuple(wrap(result), optional_array(result.order.order),
                        optional_array(result.order.starts),
                        sorted ? py::object(*sorted) : py::none());
}

py::object wrapped_structure(const CanonicalCsr& result) {
  return py::cast(held(result.structure));
}

py::tuple from_arrays(const Int64Array& indptr, const Int64Array& indices, Shape shape,
                      const std::string& duplicates, std::optional<py::array> values, int threads) {
  const Duplicates policy = duplicates_from(duplicates);
  const auto offsets = span_of(indptr), columns = span_of(indices);
  return canonical(
      std::move(values), std::ssize(columns),
      [&](const Values& moved) {
        return csr_from_arrays(offsets, columns, shape.first, shape.second, policy, moved, threads);
      },
      wrapped_structure);
}

py::tuple from_triplets(const py::array& row, const py::array& col, Shape shape,
                        const std::string& duplicates, std::optional<py::array> values,
                        int threads) {
  const Duplicates policy = duplicates_from(duplicates);
  const IndexView rows = index_arg(row, "row"), cols = index_arg(col, "col");
  return canonical(
      std::move(values), rows.size,
      [&](const Values& moved) {
        return csr_from_triplets(rows, cols, shape.first, shape.second, policy, moved, threads);
      },
      wrapped_structure);
}

// An array that is nobody else's.
py::array frozen_indices(IndexArray&& indices) {
  const auto owner = std::make_shared<const IndexArray>(std::move(indices));
  return index_view(owner, *owner);
}

py::tuple summed_triplets(const py::array& row, const py::array& col, Shape shape,
                          std::optional<py::array> values, int threads) {
  const IndexView rows = index_arg(row, "row"), cols = index_arg(col, "col");
  return canonical(
      std::move(values), rows.size,
      [&](const Values& moved) {
        return sum_triplets(rows, cols, shape.first, shape.second, moved, threads);
      },
      [](CanonicalTriplets& result) {
        return py::make_tuple(frozen_indices(std::move(result.row)),
                              frozen_indices(std::move(result.col)));
      });
}

// Owned by nothing that numpy could make writable again: the core reads it unlocked.
py::array narrowed(const py::array& indices, std::int64_t limit, const std::string& name) {
  const auto narrow_as = [&]<class Index>(Index) {
    const std::span<const Index> given(static_cast<const Index*>(indices.data()),
                                       static_cast<std::size_t>(indices.size()));
    IndexArray result;
    without_gil([&] { result = narrow(given, limit, name); });
    return frozen_indices(std::move(result));
  };
  if (py::isinstance<Int64Array>(indices)) return narrow_as(std::int64_t{});
  if (py::isinstance<py::array_t<std::int32_t, py::array::c_style>>(indices)) {
    return narrow_as(std::int32_t{});
  }
  throw py::type_error(name + ": expected contiguous int32 or int64");
}

py::tuple from_dense(py::array array, int threads) {
  const DenseArg dense = matrix_arg(std::move(array), "W");
  Nonzeros nonzeros;
  without_gil([&] { nonzeros = csr_from_dense(dense.view, threads); });
  return py::make_tuple(
      held(nonzeros.structure),
      owning_array(dense.view.dtype, nonzeros.structure->nnz(), std::move(nonzeros.values)));
}

py::array to_dense(const CsrStructure& self, py::array values_in) {
  const py::array values = values_arg(std::move(values_in), "values", self.nnz());
  py::array out = py::module_::import("numpy").attr("zeros")(
      py::make_tuple(self.rows(), self.cols()), values.dtype());
  void* target = out.mutable_data();
  const void* source = values.data();
  const std::int64_t item_size = values.itemsize();
  without_gil([&] { scatter_dense(self, source, item_size, target); });
  return out;
}

void check_row(const CsrStructure& self, std::int64_t row) {
  if (row < 0 || row >= self.rows()) {
    throw py::index_error("row " + std::to_string(row) + " is outside [0, " +
                          std::to_string(self.rows()) + ")");
  }
}

Int64Array row_columns(const CsrStructure& self, std::int64_t row) {
  check_row(self, row);
  const std::int64_t begin = self.offsets()[row], end = self.offsets()[row + 1];
  Int64Array columns(end - begin);
  for (std::int64_t p = begin; p < end; ++p) {
    columns.mutable_data()[p - begin] = self.columns()[p];
  }
  return columns;
}

Int64Array row_ids(const CsrStructure& self) {
  Int64Array ids(self.nnz());
  std::int64_t* out = ids.mutable_data();
  for (std::int64_t r = 0; r < self.rows(); ++r) {
    std::fill(out + self.offsets()[r], out + self.offsets()[r + 1], r);
  }
  return ids;
}

py::tuple gathered(const CsrStructure& self, const Int64Array& rows,
                   std::optional<py::array> values, int threads) {
  // A private copy: the rows will be checked, and another thread could still edit the caller's
  // array.
  const std::vector<std::int64_t> ids(rows.data(), rows.data() + rows.size());
  return canonical(
      std::move(values), self.nnz(),
      [&](const Values& moved) { return gather_rows(self, ids, moved, threads); },
      wrapped_structure);
}

py::tuple transposed(const CsrStructure& self, std::optional<py::array> values, int threads) {
  return canonical(
      std::move(values), self.nnz(),
      [&](const Values& moved) {
        return transpose(self.view(nullptr, moved.dtype), moved, threads);
      },
      wrapped_structure);
}

py::array_t<bool> prune_24_mask(py::array array, int threads) {
  const DenseArg dense = slots_arg(std::move(array), "W");
  py::array_t<bool> mask({dense.view.rows, dense.view.cols});
  auto* out = reinterpret_cast<std::uint8_t*>(mask.mutable_data());
  without_gil([&] { prune_24(dense.view, out, threads); });
  return mask;
}

using Sparse24Ptr = std::shared_ptr<Sparse24Structure>;

py::tuple compress(py::array array, bool prune, int threads) {
  const DenseArg dense = slots_arg(std::move(array), "W");
  const MatrixView& view = dense.view;
  py::array values = make_array(view.dtype, {view.rows, (view.cols + 3) / 4 * 2});
  void* values_out = values.mutable_data();
  std::shared_ptr<const Sparse24Structure> structure;
  without_gil([&] { structure = compress_24(view, prune, values_out, threads); });
  return py::make_tuple(std::const_pointer_cast<Sparse24Structure>(structure), values);
}

using ByteArray = py::array_t<std::uint8_t, py::array::c_style>;

Sparse24Ptr make_sparse24(const ByteArray& metadata, Shape shape) {
  const std::span<const std::uint8_t> bytes(metadata.data(),
                                            static_cast<std::size_t>(metadata.size()));
  return std::make_shared<Sparse24Structure>(shape.first, shape.second, bytes);
}

Int64Array column_ids(const Sparse24Structure& self) {
  Int64Array ids({self.rows(), self.values_per_row()});
  std::int64_t* out = ids.mutable_data();
  const std::uint8_t* bytes = self.metadata().data();
  for (std::int64_t r = 0; r < self.rows(); ++r) {
    for (std::int64_t t = 0; t < self.values_per_row(); ++t) {
      *out++ = sparse24_column(bytes + r * self.metadata_per_row(), t);
    }
  }
  return ids;
}

py::array sparse24_to_dense(const Sparse24Structure& self, py::array values_in) {
  const DenseArg given = slots_arg(std::move(values_in), "values");
  py::array values = given.array;
  if (!is_contiguous(values)) values = values.attr("copy")("C");
  if (values.size() != self.rows() * self.values_per_row()) {
    throw py::value_error("values has " + std::to_string(values.size()) + " items, expected " +
                          std::to_string(self.rows() * self.values_per_row()));
  }
  py::array out = py::module_::import("numpy").attr("zeros")(
      py::make_tuple(self.rows(), self.cols()), values.dtype());
  scatter_dense(self, values.data(), values.itemsize(), out.mutable_data());
  return out;
}

void register_csr(py::module_& module) {
  py::class_<CsrStructure, CsrPtr>(module, "CsrStructure", py::is_final())
      .def_property_readonly("shape",
                             [](const CsrStructure& s) { return Shape(s.rows(), s.cols()); })
      .def_property_readonly("nnz", &CsrStructure::nnz)
      .def_property_readonly("indptr",
                             [](const CsrPtr& self) { return index_view(self, self->offsets()); })
      .def_property_readonly("indices",
                             [](const CsrPtr& self) { return index_view(self, self->columns()); })
      .def_property_readonly("nbytes", &CsrStructure::nbytes)
      .def(
          "row_bounds",
          [](const CsrStructure& self, std::int64_t row) {
            check_row(self, row);
            return std::pair(self.offsets()[row], self.offsets()[row + 1]);
          },
          py::arg("row"))
      .def("row_columns", row_columns, py::arg("row"))
      .def("row_ids", row_ids)
      .def("gather_rows", gathered, py::arg("rows").noconvert(), py::arg("values"),
           py::arg("threads"))
      .def("transpose", transposed, py::arg("values"), py::arg("threads"))
      .def("to_dense", to_dense, py::arg("values"))
      .def("check", &CsrStructure::check)
      .def("equals", &CsrStructure::operator==, py::arg("other"));
  module.def("csr_from_arrays", from_arrays, py::arg("indptr").noconvert(),
             py::arg("indices").noconvert(), py::arg("shape"), py::arg("duplicates"),
             py::arg("values"), py::arg("threads"));
  module.def("csr_from_triplets", from_triplets, py::arg("row"), py::arg("col"), py::arg("shape"),
             py::arg("duplicates"), py::arg("values"), py::arg("threads"));
  module.def("sum_triplets", summed_triplets, py::arg("row"), py::arg("col"), py::arg("shape"),
             py::arg("values"), py::arg("threads"));
  module.def("narrow", narrowed, py::arg("indices"), py::arg("limit"), py::arg("name"));
  module.def("csr_from_dense", from_dense, py::arg("dense"), py::arg("threads"));
}

void register_sparse24(py::module_& module) {
  py::class_<Sparse24Structure, Sparse24Ptr>(module, "Sparse24Structure", py::is_final())
      .def(py::init(&make_sparse24), py::arg("metadata").noconvert(), py::arg("shape"))
      .def_property_readonly("shape",
                             [](const Sparse24Structure& s) { return Shape(s.rows(), s.cols()); })
      .def_property_readonly("metadata",
                             [](const Sparse24Ptr& self) {
                               return frozen_view(self, self->metadata().data(), "u1",
                                                  {self->rows(), self->metadata_per_row()});
                             })
      .def("column_ids", column_ids)
      .def("to_dense", sparse24_to_dense, py::arg("values"))
      .def("check", &Sparse24Structure::check)
      .def("equals", &Sparse24Structure::operator==, py::arg("other"));
  module.def("prune_24", prune_24_mask, py::arg("dense"), py::arg("threads"));
  module.def("compress_24", compress, py::arg("dense"), py::arg("prune"), py::arg("threads"));
}

}  // namespace

void register_formats(py::module_& module) {
  register_csr(module);
  register_sparse24(module);
}

}  // namespace sparsecore::bindings
