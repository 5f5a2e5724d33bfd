// The transpose of a structure, in canonical order.
#pragma once

#include "triplets.h"

namespace sparsecore {

// On one thread for up to 2^17 columns, where counting is faster than any sort.
CanonicalCsr transpose(const CsrStructure& a, const Values& values, int threads);

}  // namespace sparsecore
