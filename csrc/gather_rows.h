// Some rows of a matrix as a matrix of its own.
#pragma once

#include <cstdint>
#include <span>

#include "triplets.h"

namespace sparsecore {

// Rows `ids` in that order, repeated or not; negative ones count from the end. std::out_of_range,
// naming the first position, outside [-rows, rows).
CanonicalCsr gather_rows(const CsrStructure& a, std::span<const std::int64_t> ids,
                         const Values& values, int threads);

}  // namespace sparsecore
