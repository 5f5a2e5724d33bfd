// The product of a CSR matrix and a dense one on the device.
#pragma once

#include "../epilogue.h"
#include "memory.h"
#include "pieces.h"

namespace sparsecore::cuda {

// out = epilogue(a @ x). The arguments agree (ops.h); all memory is the device's. The kernel, and
// so the order of every sum, depends on the pattern, the shapes, the strides and the dtypes only.
void csr_product(const CsrView& a, const Pieces& pieces, const MatrixView& x,
                 const Epilogue& epilogue, const MatrixView& out, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
