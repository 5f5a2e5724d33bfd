// The product of two dense matrices at the positions of a CSR matrix, on the device.
#pragma once

#include "memory.h"
#include "pieces.h"

namespace sparsecore::cuda {

// d[p] = dot(row r of u, row c of v) for each entry p of a, at (r, c). The arguments agree (ops.h),
// d holds a.nnz() items of sddmm_dtype; all memory is the device's. The order of every sum depends
// on the shapes, the strides and the dtype only.
void csr_sampled_product(const CsrView& a, const Pieces& pieces, const MatrixView& u,
                         const MatrixView& v, void* d, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
