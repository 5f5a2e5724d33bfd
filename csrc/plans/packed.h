// Products with a matrix that is packed (packed.h) for the one call.
#pragma once

#include "../epilogue.h"
#include "../views.h"

namespace sparsecore {

// out = epilogue(A @ x).
void packed_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                    const MatrixView& out, int threads);

}  // namespace sparsecore
