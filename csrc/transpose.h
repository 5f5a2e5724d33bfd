// The transpose of a matrix, in canonical order.
#pragma once

#include <cstddef>
#include <memory>

#include "pages.h"
#include "triplets.h"

namespace sparsecore {

// Reads the pattern of `a`; its values are those of `values`. On one thread for up to 2^17 columns,
// where counting is faster than any sort.
CanonicalCsr transpose(const CsrView& a, const Values& values, int threads);

// A transpose with its values.
struct TransposedCsr {
  std::shared_ptr<const CsrStructure> structure;
  Pages<std::byte> values;
};
TransposedCsr transpose(const CsrView& a, int threads);

}  // namespace sparsecore
