// Between dense matrices and CSR on the device.
#pragma once

#include "csr_arrays.h"

namespace sparsecore::cuda {

// The nonzeros of a dense matrix of any strides, and their values (-0.0 is zero, NaN is not).
struct Nonzeros {
  Pattern pattern;
  const void* values;
};
Nonzeros nonzeros(const MatrixView& dense, Memory& memory, Stream stream);

// out[row * cols + column] = value, of item_size bytes each; `out` is zeroed by the caller.
void scatter_dense(const CsrView& a, const Pieces& pieces, std::int64_t item_size, void* out,
                   Stream stream);

}  // namespace sparsecore::cuda
