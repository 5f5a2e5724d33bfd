// Products with a matrix as it is stored, of which nothing is kept: choose how (choose.h), and run.
#pragma once

#include "../epilogue.h"
#include "../views.h"

namespace sparsecore {

// out = epilogue(A @ x), and with A transposed.
void csr_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                 const MatrixView& out, int threads);
void transposed_product(const CsrView& a, const MatrixView& x, const Epilogue& epilogue,
                        const MatrixView& out, int threads);

}  // namespace sparsecore
