// The transpose of a CSR pattern on the device.
#pragma once

#include "csr_arrays.h"

namespace sparsecore::cuda {

// Entry p of the transpose is entry order[p] of the matrix.
struct Transposed {
  Pattern pattern;
  const std::int64_t* order;
};
Transposed transpose(const CsrView& a, const Pieces& pieces, Memory& memory, Stream stream);

}  // namespace sparsecore::cuda
