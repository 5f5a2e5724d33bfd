// Products of an int8 matrix whose entries are combined (combined.h).
#pragma once

#include "../combined.h"
#include "../epilogue.h"

namespace sparsecore {

// out = epilogue(A @ x), x being int8 and the sums int32.
void combined_product(const CombinedStructure& a, const CombinedStructure::Values& values,
                      const MatrixView& x, const Epilogue& epilogue, const MatrixView& out,
                      int threads);

}  // namespace sparsecore
