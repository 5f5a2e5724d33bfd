// Making structures from CSR arrays.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "formats.h"
#include "triplets.h"

namespace sparsecore {

// Arrays whose rows are ascending already leave `values` alone: room() is not called.
CanonicalCsr csr_from_arrays(std::span<const std::int64_t> indptr,
                             std::span<const std::int64_t> indices, std::int64_t rows,
                             std::int64_t cols, Duplicates duplicates, const Values& values,
                             int threads);
// Indices in the smallest width that holds 0 ... limit - 1; std::out_of_range, naming the first
// position, where one is outside. `name` says whose they are.
IndexArray narrow(std::span<const std::int64_t> indices, std::int64_t limit, std::string_view name);
IndexArray narrow(std::span<const std::int32_t> indices, std::int64_t limit, std::string_view name);

}  // namespace sparsecore
