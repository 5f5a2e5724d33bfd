// out = epilogue(a x) for a 2:4 matrix, straight from the canonical layout.
#pragma once

#include "../epilogue.h"

namespace sparsecore {

// The arguments agree already (see ops.h).
void sparse24_product(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
                      const MatrixView& out, int threads);

}  // namespace sparsecore
