// The sampled product: what a gradient with respect to the stored values needs.
#pragma once

#include "../views.h"

namespace sparsecore {

// d[p] = <u[row of p], v[column of p]>, d holding a.nnz() items of the result type, contiguous.
void sampled_product(const CsrView& a, const MatrixView& u, const MatrixView& v, void* d,
                     DType d_dtype, int threads);

}  // namespace sparsecore
