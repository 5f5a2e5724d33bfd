// Products with the transposed matrix that transpose nothing.
#pragma once

#include "../epilogue.h"
#include "../views.h"

namespace sparsecore {

// out = epilogue(A.T @ x). Threads take columns of the result, never parts of a sum.
void row_scatter(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                 const MatrixView& out, int threads);

}  // namespace sparsecore
