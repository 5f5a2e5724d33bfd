// Products that read the matrix as it is stored, row by row, and pack nothing that is kept.
#pragma once

#include "../epilogue.h"
#include "../views.h"

namespace sparsecore {

// out = epilogue(A @ x).
void row_sweep(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
               const MatrixView& out, int threads);
void row_sweep(const Sparse24View& a, const MatrixView& x, const Epilogue& epilogue,
               const MatrixView& out, int threads);

}  // namespace sparsecore
