// Products with a 2:4 matrix by cuSPARSELt, which is opened at run time.
#pragma once

#include "cusparselt_api.h"
#include "cusparselt_plan.h"
#include "cusparselt_problem.h"
#include "memory.h"

namespace sparsecore::cuda::cusparselt {

// Compresses a dense matrix, (rows, cols) of any strides, of which at most 2 of 4 items along a row
// are not zero (of float32 1 of 2). -0.0 is zero, NaN is not. Waits for the stream, once:
// std::invalid_argument names the first group that has more.
Compressed compress(const Api& api, int device, const Matrix& w, Memory& memory, Stream stream);

// Starts the product, checked before the library is called.
void multiply(const Compressed& s, const Product& product, Memory& memory, Stream stream);

// Times the library's kernels for a product, and waits for them. product.out is scratch: it is
// overwritten many times.
Algorithm search(const Compressed& s, const Product& product, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda::cusparselt
