// Where hardware's layouts have the nibbles of 2:4 metadata.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "../cuda/metadata_layouts.h"
#include "arrays.h"
#include "registration.h"

namespace sparsecore::bindings {
namespace {

const cuda::MetadataLayout& layout_named(std::string_view name) {
  const auto* const found =
      std::find_if(std::begin(cuda::kMetadataLayouts), std::end(cuda::kMetadataLayouts),
                   [&](const cuda::MetadataLayout& layout) { return name == layout.name; });
  if (found != std::end(cuda::kMetadataLayouts)) return *found;
  std::string names;
  for (const cuda::MetadataLayout& layout : cuda::kMetadataLayouts) {
    names += (names.empty() ? "" : ", ") + std::string(layout.name);
  }
  throw std::invalid_argument("metadata_positions: layout is '" + std::string(name) +
                              "', expected one of " + names);
}

Int64Array metadata_positions(std::string_view name, std::pair<std::int64_t, std::int64_t> shape) {
  const cuda::MetadataLayout& layout = layout_named(name);
  const auto [rows, groups] = shape;
  if (rows < 0 || groups < 0 || rows % layout.rows != 0 || groups % layout.groups != 0) {
    throw std::invalid_argument("metadata_positions: " + std::to_string(rows) + " rows of " +
                                std::to_string(groups) + " groups, expected multiples of " +
                                std::to_string(layout.rows) + " and " +
                                std::to_string(layout.groups) + " for " + layout.name);
  }
  Int64Array positions({rows, groups});
  std::int64_t* out = positions.mutable_data();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t group = 0; group < groups; ++group) {
      *out++ = layout.position({row, group}, rows);
    }
  }
  return positions;
}

}  // namespace

void register_metadata(pybind11::module_& module) {
  module.def("metadata_positions", metadata_positions, py::arg("layout"), py::arg("shape"));
}

}  // namespace sparsecore::bindings
